"""Scoring by transformers: texts sorted by length, 16 at a time, padded to the longest
of them."""

import torch
import transformers

import peer

BATCH = 16


def main():
    task = peer.task()
    found = peer.Found(task["result"])
    dtype = torch.bfloat16 if task["precision"] == "bf16" else torch.float32
    model = transformers.AutoModelForSequenceClassification.from_pretrained(
        task["model"], dtype=dtype
    ).eval()
    pad = model.config.pad_token_id
    found.begin()
    rewards = score(model, task["rows"], pad)
    found.end(items=len(rewards))
    found.write(rewards=rewards)


@torch.inference_mode()
def score(model, rows, pad):
    """The reward of each row."""
    order = sorted(range(len(rows)), key=lambda i: len(rows[i]))
    rewards = [0.0] * len(rows)
    for start in range(0, len(rows), BATCH):
        part = order[start : start + BATCH]
        longest = max(len(rows[i]) for i in part)
        ids = torch.tensor([rows[i] + [pad] * (longest - len(rows[i])) for i in part])
        mask = torch.tensor([[1] * len(rows[i]) + [0] * (longest - len(rows[i])) for i in part])
        found = model(input_ids=ids, attention_mask=mask).logits.float().squeeze(-1)
        for i, reward in zip(part, found.tolist()):
            rewards[i] = reward
    return rewards


main()
