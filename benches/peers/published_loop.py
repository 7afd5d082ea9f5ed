"""The published loop, re-enacted: the language model with a linear head on the hidden
state of the last token, all texts padded to the full length, logits computed on every
token though nothing reads them, gradient checkpointing, one pass over a micro-batch of
pairs after the other."""

import torch
import transformers
from torch.nn.functional import logsigmoid

import peer


class RewardModel(torch.nn.Module):
    """A causal language model and `score`."""

    def __init__(self, task):
        super().__init__()
        self.body = transformers.AutoModelForCausalLM.from_pretrained(
            task["model"], dtype=torch.float32
        )
        self.body.gradient_checkpointing_enable({"use_reentrant": False})
        self.score = torch.nn.Linear(self.body.config.hidden_size, 1, bias=False)
        with torch.no_grad():
            self.score.weight.copy_(torch.tensor([task["head"]]))

    def forward(self, input_ids, attention_mask, last):
        out = self.body(
            input_ids, attention_mask=attention_mask, output_hidden_states=True, use_cache=False
        )
        hidden = out.hidden_states[-1][torch.arange(len(last)), last]
        return self.score(hidden).squeeze(-1)


def padded(sequences, longest, pad):
    """Ids and mask `[B, longest]`, and where the token before EOS stands `[B]`."""
    ids = torch.full((len(sequences), longest), pad)
    mask = torch.zeros_like(ids)
    for row, sequence in enumerate(sequences):
        ids[row, : len(sequence)] = torch.tensor(sequence)
        mask[row, : len(sequence)] = 1
    return ids, mask, mask.sum(1) - 2


def step(model, optimiser, rows, task):
    """One global batch; its mean loss."""
    total, size = 0.0, task["device_batch"]
    for start in range(0, len(rows), size):
        part = rows[start : start + size]
        both = [chosen for chosen, _ in part] + [rejected for _, rejected in part]
        batch = padded(both, task["longest"], model.body.config.eos_token_id)
        with torch.autocast("cpu", torch.bfloat16, enabled=task["precision"] == "bf16"):
            chosen, rejected = model(*batch).chunk(2)
        loss = -logsigmoid(chosen.float() - rejected.float()).sum() / len(rows)
        loss.backward()
        total += loss.item()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimiser.step()
    optimiser.zero_grad()
    return total


def main():
    task = peer.task()
    found = peer.Found(task["result"])
    model = RewardModel(task).train()
    optimiser = torch.optim.AdamW(model.parameters(), lr=task["lr"], weight_decay=0.0, fused=True)
    for index in range(task["steps"]):
        rows = task["rows"][index * task["batch"] : (index + 1) * task["batch"]]
        found.begin()
        loss = step(model, optimiser, rows, task)
        found.end(loss=loss)


main()
