"""The experiment whose models are compared, and what moreline says of them."""

import json
import subprocess
from pathlib import Path

import start

TRAINED = """
[stage.{name}]
kind = "{kind}"
model = "{model}"
data = "{data}"
template = "{template}"
max_length = 128
batch = 4
steps = 2
lr = 1e-3
precision = "fp32"
{more}
"""

EVALUATED = """
[stage.{name}-rewards]
kind = "evaluate-reward"
model = "{name}"
data = "pairs"
precision = "fp32"
"""

REWARD_WAYS = {
    "fp32": "",
    "bf16": 'export_precision = "bf16"',
    "eos": 'pooling = "eos"',
    "mean": 'pooling = "mean"',
    "lora": "lora = { rank = 4, alpha = 8, save_adapter = true }",
}
LANGUAGE_WAYS = {
    "fp32": "",
    "bf16": 'export_precision = "bf16"',
    "lora": "lora = { rank = 4, alpha = 8, save_adapter = true }",
}
# The models that are trained in all these ways, one of each family.
IN_ALL_WAYS = ["llama-gqa-tied", "pythia-parallel"]
# The large model is trained at its top only, and cut into several files.
LARGE = "train_blocks = 1"
SHARDED = LARGE + "\nmax_shard_mb = 150"


def ways(model, known):
    """How a model is trained: its names and settings."""
    return [way for way in known.items() if model in IN_ALL_WAYS or way[0] == "fp32"]


class Exported:
    """An experiment in `folder`, run by the programs in `bin_dir`."""

    def __init__(self, folder, bin_dir):
        self.folder, self.bin = folder, Path(bin_dir).resolve()
        self.file = folder / "check.toml"
        self.models = start.tiny_models(folder / "models")
        self.reward, self.language = {}, {}

    def run(self):
        """Writes the experiment and computes all of it."""
        lines = [json.dumps(row) for row in start.rows()]
        (self.folder / "pairs.jsonl").write_text("\n".join(lines))
        answers = [{"prompt": row["prompt"], "answer": row["chosen"]} for row in start.rows()]
        (self.folder / "answers.jsonl").write_text("\n".join(map(json.dumps, answers)))
        (self.folder / "moreline.toml").write_text('cache = "cache"\ntensorboard = false\n')
        self.file.write_text(self._text())
        self._moreline("run", self.file)

    def _text(self):
        text = '[data.pairs]\npath = "pairs.jsonl"\n[prompts.answers]\npath = "answers.jsonl"\n'
        for model, folder in self.models.items():
            text += f'[model.{model}]\nsource = "{folder}"\n'
            for way, more in ways(model, REWARD_WAYS):
                text += self._reward(model, way, more)
            for way, more in ways(model, LANGUAGE_WAYS):
                text += self._language(model, way, more)
        if start.SMOLLM2.exists():
            text += f'[model.smollm2]\nsource = "{start.SMOLLM2}"\n'
            text += self._reward("smollm2", "fp32", LARGE)
            text += self._reward("smollm2", "bf16", LARGE + '\nexport_precision = "bf16"')
            text += self._reward("smollm2", "sharded", SHARDED)
            text += self._language("smollm2", "sharded", SHARDED)
        return text

    def _reward(self, model, way, more):
        name = f"{model}-reward-{way}"
        self.reward[name] = model
        text = TRAINED.format(
            name=name, kind="train-reward", model=model, data="pairs",
            template="human-assistant", more=more,
        )
        return text + EVALUATED.format(name=name)

    def _language(self, model, way, more):
        name = f"{model}-sft-{way}"
        self.language[name] = model
        return TRAINED.format(
            name=name, kind="sft", model=model, data="answers", template="chat", more=more
        )

    def _moreline(self, verb, *words):
        command = [self.bin / "moreline", verb, *words]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise SystemExit(f"moreline {verb} failed:\n{done.stdout[-2000:]}{done.stderr[-4000:]}")
        return done.stdout

    def export(self, stage):
        """The folder of a stage's model, copied as users do."""
        target = self.folder / "exported" / stage
        if not target.exists():
            target.parent.mkdir(exist_ok=True)
            self._moreline("export", self.file, stage, target)
        return target

    def outputs(self, stage):
        """Where a stage's outputs lie, by name."""
        return json.loads(self._moreline("show", self.file, stage, "--json"))["outputs"]

    def records(self, stage, name):
        """The rows of one of its outputs."""
        lines = Path(self.outputs(stage)[name]).read_text().splitlines()
        return [json.loads(line) for line in lines]

    def forward(self, model, given, out):
        """Runs the language model in `model` on the tensors in `given`."""
        command = [self.bin / "moreline-worker", "forward", "--model", model]
        subprocess.run([*command, "--input", given, "--output", out], check=True)
