"""Fine-tuning by TRL's SFTTrainer, with packing or without."""

import tempfile

import datasets
import torch
import transformers
import trl

import peer


def main():
    task = peer.task()
    found = peer.Found(task["result"])
    rows = [{"input_ids": ids, "labels": labels} for ids, labels in task["rows"]]
    model = transformers.AutoModelForCausalLM.from_pretrained(task["model"], dtype=torch.float32)
    with tempfile.TemporaryDirectory() as folder:
        settings = peer.trainer_settings(task, folder)
        trainer = peer.in_order(trl.SFTTrainer)(
            model=model,
            args=trl.SFTConfig(**settings, packing=task["packing"]),
            processing_class=peer.tokenizer(task),
            train_dataset=datasets.Dataset.from_list(rows),
            callbacks=[peer.Timer(found)],
        )
        trainer.train()
        if task["packing"]:
            count_examples(found, trainer)


def count_examples(found, trainer):
    """Says how many examples each step held. Its losses are those of other batches than
    anyone else's, so they are left out."""
    held = [len(lengths) for lengths in trainer.train_dataset["seq_lengths"]]
    rows = trainer.args.per_device_train_batch_size * trainer.args.gradient_accumulation_steps
    for index, step in enumerate(found.steps):
        taken = range(index * rows, (index + 1) * rows)
        step["items"] = sum(held[row % len(held)] for row in taken)
        del step["loss"]
    found.write()


main()
