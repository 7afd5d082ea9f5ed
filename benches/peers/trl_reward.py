"""Reward training by TRL's RewardTrainer."""

import tempfile

import datasets
import trl

import peer


def main():
    task = peer.task()
    found = peer.Found(task["result"])
    rows = [{"chosen_ids": chosen, "rejected_ids": rejected} for chosen, rejected in task["rows"]]
    with tempfile.TemporaryDirectory() as folder:
        trainer = peer.in_order(trl.RewardTrainer)(
            model=peer.reward_model(task),
            args=trl.RewardConfig(**peer.trainer_settings(task, folder)),
            processing_class=peer.tokenizer(task),
            train_dataset=datasets.Dataset.from_list(rows),
            callbacks=[peer.Timer(found)],
        )
        trainer.train()


main()
