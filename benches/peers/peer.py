"""What the peers' programs share: each is started with a task file, and writes what
it found into the file that the task names."""

import json
import sys
import time
from pathlib import Path

import torch
import transformers


def task():
    """The task file's contents."""
    return json.loads(Path(sys.argv[1]).read_text())


class Found:
    """The steps of a run as they are taken."""

    def __init__(self, path):
        self.path = path
        self.first_began = None
        self.steps = []
        self.began = None

    def begin(self):
        self.began = time.perf_counter()
        if self.first_began is None:
            self.first_began = time.time()

    def end(self, **values):
        self.steps.append({"seconds": time.perf_counter() - self.began, **values})
        # Written at once: a run that outgrows the memory still has its steps.
        self.write()

    def write(self, **more):
        found = {"first_began": self.first_began, "steps": self.steps, **more}
        Path(self.path).write_text(json.dumps(found))


class Timer(transformers.TrainerCallback):
    """The steps of a `Trainer`: from the first forward pass to the updated weights."""

    def __init__(self, found):
        self.found = found

    def on_step_begin(self, args, state, control, **more):
        self.found.begin()

    def on_step_end(self, args, state, control, **more):
        self.found.end()

    def on_log(self, args, state, control, logs=None, **more):
        if logs and "loss" in logs:
            self.found.steps[-1]["loss"] = logs["loss"]
            self.found.write()


def in_order(trainer):
    """A trainer class that takes its rows in the order of the data set."""

    class InOrder(trainer):
        def _get_train_sampler(self, *given):
            return torch.utils.data.SequentialSampler(self.train_dataset)

    return InOrder


def trainer_settings(task, folder):
    """The settings both of TRL's trainers take."""
    return {
        "output_dir": folder,
        "max_steps": task["steps"],
        "per_device_train_batch_size": task["device_batch"],
        "gradient_accumulation_steps": task["batch"] // task["device_batch"],
        "learning_rate": task["lr"],
        "lr_scheduler_type": "constant",
        "weight_decay": 0.0,
        "max_grad_norm": 1.0,
        "max_length": task["longest"],
        "gradient_checkpointing": False,
        "bf16": task["precision"] == "bf16",
        "use_cpu": True,
        "logging_steps": 1,
        "save_strategy": "no",
        "report_to": "none",
        "disable_tqdm": True,
    }


def reward_model(task):
    """The model with the head that moreline starts from, in fp32."""
    model = transformers.AutoModelForSequenceClassification.from_pretrained(
        task["model"], num_labels=1, dtype=torch.float32
    )
    model.config.pad_token_id = model.config.eos_token_id
    with torch.no_grad():
        model.score.weight.copy_(torch.tensor([task["head"]]))
    return model


def tokenizer(task):
    loaded = transformers.AutoTokenizer.from_pretrained(task["model"])
    loaded.pad_token = loaded.eos_token
    return loaded
