"""The same five stages, for three engines."""

import json
import os
import re
import shutil
import struct
import subprocess
import sys
import time
from pathlib import Path

TOY = Path(__file__).resolve().parent / "toy"
MORELINE = Path("target/release/moreline").resolve()
BIN = Path(sys.executable).parent
PAIR = {"chosen": "\n\nHuman: Say hello.\n\nAssistant: Hello.",
        "rejected": "\n\nHuman: Say hello.\n\nAssistant: No."}
CONFIG = {
    "model_type": "llama", "architectures": ["LlamaForCausalLM"], "hidden_size": 8,
    "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2,
    "num_key_value_heads": 1, "vocab_size": 16, "max_position_embeddings": 64,
    "rms_norm_eps": 1e-5, "rope_theta": 10000.0, "tie_word_embeddings": True,
    "hidden_act": "silu",
}
TOKENIZER = {
    "version": "1.0", "added_tokens": [], "pre_tokenizer": {"type": "Whitespace"},
    "model": {"type": "WordLevel", "vocab": {"<unk>": 0, "hello": 1}, "unk_token": "<unk>"},
}


class Project:
    """A directory with the toy's inputs, and how one engine is called in it."""

    name = ""

    def __init__(self, root: Path, weights: int):
        self.root = root / self.name.lower().replace(" ", "-")
        (self.root / "model").mkdir(parents=True)
        self.write("pairs.jsonl", json.dumps(PAIR) + "\n")
        self.write("prompts.jsonl", '{"prompt":"Say hello."}\n')
        self.write("model/config.json", json.dumps(CONFIG))
        self.write("model/tokenizer.json", json.dumps(TOKENIZER))
        write_weights(self.root / "model/model.safetensors", weights)
        self.set_up()

    def write(self, name: str, text: str):
        (self.root / name).write_text(text)

    def set_up(self):
        """Makes the engine's own files."""

    def run(self) -> list:
        raise NotImplementedError

    def ask(self) -> list:
        """What a run would do."""
        raise NotImplementedError

    def reran(self, said: str) -> int:
        """Stages that a run computed, from what it printed."""
        raise NotImplementedError

    def forget_digests(self):
        """Removes what is remembered of files; false if that cannot be done."""
        return False

    def forget_all(self):
        """Removes every result."""
        raise NotImplementedError

    def call(self, command: list):
        """Seconds of a whole process, and what it printed."""
        start = time.perf_counter()
        done = subprocess.run(command, cwd=self.root, env=self.environment(),
                              stdin=subprocess.DEVNULL, capture_output=True, text=True)
        seconds = time.perf_counter() - start
        if done.returncode != 0:
            sys.exit(f"{' '.join(map(str, command))}: {done.stdout}{done.stderr}")
        return seconds, done.stdout + done.stderr

    def environment(self) -> dict:
        return {**os.environ, "PATH": f"{BIN}:{os.environ['PATH']}", "HOME": str(self.root)}


class Ours(Project):
    name = "moreline"

    def set_up(self):
        for name in ["toy.toml", "worker.sh"]:
            shutil.copy(TOY / name, self.root)
        self.write("moreline.toml", 'worker = "worker.sh"\ncache = "cache"\n')

    def run(self):
        return [MORELINE, "run", "toy.toml"]

    def ask(self):
        return [MORELINE, "plan", "toy.toml"]

    def reran(self, said):
        return len(re.findall(r"^\S+ +\S+ +ran +", said, re.MULTILINE))

    def forget_digests(self):
        (self.root / "cache/memo").unlink(missing_ok=True)
        return True

    def forget_all(self):
        shutil.rmtree(self.root / "cache", ignore_errors=True)


class Dvc(Project):
    name = "DVC"

    def set_up(self):
        shutil.copy(TOY / "dvc.yaml", self.root)
        self.call([BIN / "dvc", "init", "--no-scm", "--quiet"])
        self.call([BIN / "dvc", "config", "core.analytics", "false"])

    def run(self):
        return [BIN / "dvc", "repro"]

    def ask(self):
        return [BIN / "dvc", "status"]

    def reran(self, said):
        return sum(line.startswith("Running stage") for line in said.splitlines())

    def forget_digests(self):
        shutil.rmtree(self.root / "site", ignore_errors=True)
        shutil.rmtree(self.root / ".dvc/tmp", ignore_errors=True)
        return True

    def forget_all(self):
        self.forget_digests()
        shutil.rmtree(self.root / ".dvc/cache", ignore_errors=True)
        (self.root / "dvc.lock").unlink(missing_ok=True)
        for output in self.root.glob("*.txt"):
            output.unlink()

    def environment(self):
        return {**super().environment(), "DVC_SITE_CACHE_DIR": str(self.root / "site"),
                "DVC_NO_ANALYTICS": "1"}


class Snakemake(Project):
    name = "Snakemake"
    options: list = []

    def set_up(self):
        shutil.copy(TOY / "Snakefile", self.root)

    def run(self):
        return [BIN / "snakemake", "--cores", "1", *self.options]

    def ask(self):
        return [BIN / "snakemake", "--dry-run", *self.options]

    def reran(self, said):
        return sum(line.startswith("Finished job") for line in said.splitlines())

    def forget_all(self):
        shutil.rmtree(self.root / ".snakemake", ignore_errors=True)
        for output in self.root.glob("*.txt"):
            output.unlink()


class SnakemakeSums(Snakemake):
    """With checksums for files of any size, not only small ones."""

    name = "Snakemake with checksums"
    options = ["--max-checksum-file-size", str(1 << 40)]


def write_weights(path: Path, size: int):
    """A safetensors file of one tensor of random bytes."""
    size = max(4, size // 4 * 4)
    header = json.dumps({"a": {"dtype": "F32", "shape": [size // 4], "data_offsets": [0, size]}})
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(header)) + header.encode())
        while size > 0:
            file.write(os.urandom(min(size, 1 << 24)))
            size -= 1 << 24
