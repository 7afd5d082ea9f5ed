"""What the check starts from: the small models of the golden tests with a tokenizer of
bytes, and a few rows."""

import json
import shutil
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
GOLDEN = ROOT / "crates" / "moreline-worker" / "tests" / "golden"
SMOLLM2 = ROOT / "models" / "SmolLM2-135M-Instruct.Q4_1.gguf"
TEMPLATE = (
    "{% for m in messages %}{{ '[' + m.role + '] ' + m.content + eos_token }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '[assistant] ' }}{% endif %}"
)


def tiny_models(folder):
    """Copies of the golden models, each with its tokenizer: name to folder."""
    found = {}
    for source in sorted((GOLDEN / "models").iterdir()):
        target = folder / source.name
        target.mkdir(parents=True)
        for file in ["config.json", "generation_config.json", "model.safetensors"]:
            shutil.copy(source / file, target / file)
        (target / "tokenizer.json").write_text(json.dumps(byte_tokenizer()))
        specials = {"bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>"}
        config = {
            **specials, "chat_template": TEMPLATE, "add_bos_token": False,
            "tokenizer_class": "PreTrainedTokenizerFast",
        }
        (target / "tokenizer_config.json").write_text(json.dumps(config))
        found[source.name] = target
    return found


def byte_tokenizer():
    """One token per byte, three special ones, no merges: ids 0 to 258."""
    specials = ["<pad>", "<s>", "</s>"]
    vocabulary = {token: id for id, token in enumerate(specials)}
    for byte in range(256):
        vocabulary[byte_character(byte)] = byte + 3
    settings = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False}
    added = [
        {"id": id, "content": token, "special": True, **settings}
        for id, token in enumerate(specials)
    ]
    level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True}
    level["use_regex"] = False
    model = {"type": "BPE", "vocab": vocabulary, "merges": []}
    return {
        "version": "1.0", "added_tokens": added, "normalizer": None, "pre_tokenizer": level,
        "post_processor": None, "decoder": level, "model": model,
    }


def byte_character(byte):
    """The character that byte-level tokenizers write for a byte: itself where it prints,
    else the next unused one from U+0100 on."""
    prints = lambda b: 0x21 <= b <= 0x7E or 0xA1 <= b <= 0xAC or b >= 0xAE
    if prints(byte):
        return chr(byte)
    return chr(0x100 + sum(not prints(b) for b in range(byte)))


def rows():
    """Preference rows of very different lengths, so that padding matters."""
    prompts = ["Why is the sky blue?", "Name a colour.", "How do I boil an egg, and for how long?"]
    replies = ["Light.", "Because blue light is scattered more than red.", "Ask, again: \"yes\"?"]
    return [
        {"prompt": prompt, "chosen": f"{reply} ({i})", "rejected": "No" + "." * (3 * i)}
        for i, (prompt, reply) in enumerate((p, r) for p in prompts for r in replies)
    ]
