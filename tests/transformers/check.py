"""Compares exported models in transformers and peft with moreline; see `check`."""

import json
import os
import sys
import tempfile
import warnings
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"

import peft
import torch
import transformers
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, AutoTokenizer

import start
from exported import Exported

# Numbers compared together agree, all computed in fp32, if they differ by at most this much
# and this share of the largest expected one: sums err with the size of their terms, not
# of their results. Against fp64, SmolLM2's logits (up to 31) are 7e-5 off in transformers
# and 1.7e-4 in moreline on a processor with AVX-512.
ABSOLUTE, RELATIVE = 2e-5, 1e-5


class Table:
    """What was compared, and whether all of it agrees."""

    def __init__(self):
        self.ok = True
        print("| model | what | found | |\n| --- | --- | --- | --- |")

    def row(self, model, what, found, good):
        self.ok &= bool(good)
        print(f"| {model} | {what} | {found} | {'ok' if good else 'APART'} |", flush=True)

    def close(self, model, what, pairs):
        """Compares pairs of found and expected tensors."""
        apart, good = 0.0, True
        for found, expected in pairs:
            limit = ABSOLUTE + RELATIVE * expected.abs().max().item()
            most = (found - expected).abs().max().item()
            # What is not a number is apart.
            good &= most <= limit
            apart = apart if most <= apart else most
        self.row(model, what, f"at most {apart:.1e} apart", good)


def main():
    # The libraries' words to each other.
    warnings.simplefilter("ignore", FutureWarning)
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    table = Table()
    with tempfile.TemporaryDirectory() as folder:
        exported = Exported(Path(folder), sys.argv[1])
        exported.run()
        for stage, model in exported.reward.items():
            check_reward(table, exported, stage, model)
        for stage, model in exported.language.items():
            check_language(table, exported, stage, model)
    if not start.SMOLLM2.exists():
        print("models/ has no SmolLM2: make setup, and run this again for its rows")
    sys.exit(0 if table.ok else 1)


# Reward models


def check_reward(table, exported, stage, base):
    """The class, and the rewards of batches padded on either side."""
    folder = exported.export(stage)
    config = json.loads((folder / "config.json").read_text())
    model = load(AutoModelForSequenceClassification, folder)
    check_class(table, stage, folder, model)
    records = exported.records(f"{stage}-rewards", "records.jsonl")
    expected = torch.tensor([record["rewards"] for record in records]).flatten()
    sequences = reward_ids(AutoTokenizer.from_pretrained(folder), start.rows())
    pooling = config["moreline"]["pooling"]
    if pooling in ("mean", "max"):
        # transformers reads one token: it cannot do this, and the config says what it should.
        table.row(stage, "pooling", f"{pooling}, not for transformers", stage.endswith(pooling))
        return
    for what, found in all_rewards(model, sequences):
        table.close(stage, what, [(found, expected)])
    if adapter := exported.outputs(stage).get("adapter"):
        plain = load(AutoModelForSequenceClassification, exported.models[base], num_labels=1)
        plain.config.pad_token_id = config["pad_token_id"]
        for what, found in all_rewards(with_adapter(plain, adapter), sequences):
            table.close(stage, f"peft, {what}", [(found, expected)])


def reward_ids(tokenizer, rows):
    """BOS, text, EOS of each row's two replies, as the pooling rules say."""
    texts = [
        f"\n\nHuman: {row['prompt']}\n\nAssistant: {row[reply]}"
        for row in rows
        for reply in ("chosen", "rejected")
    ]
    encoded = tokenizer(texts, add_special_tokens=False)["input_ids"]
    return [[tokenizer.bos_token_id, *ids, tokenizer.eos_token_id] for ids in encoded]


def all_rewards(model, sequences):
    """Rewards of a batch padded on the right and of one padded on the left; where the
    config names no padding, of single texts."""
    pad = model.config.pad_token_id
    if pad is None:
        found = [rewards(model, *padded([ids], 0, "right")) for ids in sequences]
        yield "rewards, one by one", torch.cat(found)
        return
    for side in ("right", "left"):
        yield f"rewards, padded {side}", rewards(model, *padded(sequences, pad, side))


@torch.inference_mode()
def rewards(model, ids, mask):
    return model(input_ids=ids, attention_mask=mask).logits.squeeze(-1)


# Language models


def check_language(table, exported, stage, base):
    """Logits, tokenizer, chat template and generation settings."""
    folder = exported.export(stage)
    config = json.loads((folder / "config.json").read_text())
    model = load(AutoModelForCausalLM, folder)
    check_class(table, stage, folder, model)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    check_text(table, exported, stage, tokenizer)
    sequences = [chat(tokenizer, row, tokenize=True) for row in start.rows()]
    expected = our_logits(exported, folder, sequences)
    for side in ("right", "left"):
        pairs = logits(model, sequences, expected, side)
        table.close(stage, f"logits, padded {side}", pairs)
    if adapter := exported.outputs(stage).get("adapter"):
        plain = load(AutoModelForCausalLM, exported.models[base])
        pairs = logits(with_adapter(plain, adapter), sequences, expected, "right")
        table.close(stage, "peft, logits", pairs)
    settings = transformers.GenerationConfig.from_pretrained(folder)
    there = (folder / "generation_config.json").exists()
    good = there and settings.eos_token_id == config["eos_token_id"]
    table.row(stage, "generation_config", f"eos {settings.eos_token_id}", good)


def check_text(table, exported, stage, tokenizer):
    """The rendered chats and their number of tokens are those fed in training."""
    fed = exported.records(stage, "fed.jsonl")
    for row in fed:
        source = start.rows()[row["row"]]
        text = chat(tokenizer, source, tokenize=False).rstrip()
        ids = tokenizer(text, add_special_tokens=False)["input_ids"]
        good = text == row["text"] and len(ids) == row["tokens"]
        table.row(stage, f"chat template, row {row['row']}", f"{len(ids)} tokens", good)
    if stage.startswith("smollm2"):
        check_golden_text(table, stage, tokenizer)


def check_golden_text(table, stage, tokenizer):
    """Ids of published texts, of which the golden file has the first 400, and chats."""
    golden = json.loads((start.GOLDEN / "smollm2.json").read_text())
    rows, chats = golden["rows"], golden["chat"]
    texts = [row["prompt"] + row["answer"] for row in rows]
    found = tokenizer(texts, add_special_tokens=False)["input_ids"]
    agree = sum(ids[:400] == row["ids"] for ids, row in zip(found, rows))
    table.row(stage, "ids of published texts", f"{agree} of {len(rows)}", agree == len(rows))
    render = lambda messages: tokenizer.apply_chat_template(
        messages, tokenize=False, add_generation_prompt=True
    )
    agree = sum(render(row["messages"]) == row["text"] for row in chats)
    table.row(stage, "published chats", f"{agree} of {len(chats)}", agree == len(chats))


def chat(tokenizer, row, tokenize):
    messages = [
        {"role": "user", "content": row["prompt"]},
        {"role": "assistant", "content": row["chosen"]},
    ]
    text = tokenizer.apply_chat_template(messages, tokenize=False)
    return tokenizer(text, add_special_tokens=False)["input_ids"] if tokenize else text


def our_logits(exported, folder, sequences):
    """`moreline-worker forward`: logits of each sequence."""
    ids, _ = padded(sequences, 0, "right")
    lengths = torch.tensor([len(sequence) for sequence in sequences])
    given, out = exported.folder / "in.safetensors", exported.folder / "out.safetensors"
    save_file({"input_ids": ids, "lengths": lengths}, given)
    exported.forward(folder, given, out)
    tensors = load_file(out)
    return [tensors[f"logits_row{i}"] for i in range(len(sequences))]


@torch.inference_mode()
def logits(model, sequences, expected, side):
    """Logits of each sequence, padded on one side, and the expected ones."""
    ids, mask = padded(sequences, 0, side)
    found = model(input_ids=ids, attention_mask=mask).logits
    rows = zip(found, mask.bool(), expected)
    return [(row[real], ours) for row, real, ours in rows]


# Both


def load(kind, folder, **more):
    """A model in fp32, whatever its files are in."""
    return kind.from_pretrained(folder, dtype=torch.float32, **more).eval()


def with_adapter(model, adapter):
    return peft.PeftModel.from_pretrained(model, adapter).eval()


def check_class(table, stage, folder, model):
    """The class that the config names; several weight files, where that was asked for."""
    found = type(model).__name__
    named = json.loads((folder / "config.json").read_text())["architectures"]
    table.row(stage, "class", found, named == [found])
    if "sharded" in stage:
        files = len(list(folder.glob("model-*.safetensors")))
        good = files > 1 and (folder / "model.safetensors.index.json").exists()
        table.row(stage, "weight files", files, good)


def padded(sequences, pad, side):
    """Ids and mask `[B, T]`."""
    longest = max(map(len, sequences))
    ids, mask = [], []
    for sequence in sequences:
        gap = longest - len(sequence)
        fill, real = [pad] * gap, [1] * len(sequence)
        ids.append(sequence + fill if side == "right" else fill + sequence)
        mask.append(real + [0] * gap if side == "right" else [0] * gap + real)
    return torch.tensor(ids), torch.tensor(mask)


if __name__ == "__main__":
    main()
