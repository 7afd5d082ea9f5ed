"""moreline's side: an experiment, its runs, and what they say of themselves."""

import json
import shutil
import time

import data
import measure

SETTINGS = """\
max_length = {longest}
batch = {batch}
steps = {steps}
lr = 3e-5
schedule = "constant"
warmup_steps = 0
weight_decay = 0.0
clip = 1.0
template = "raw"
"""

STAGES = """
[stage.base]                # the model's own weights as a Hugging Face directory
kind = "sft"
model = "start"
data = "examples"
template = "raw"
precision = "fp32"
train_blocks = 1
steps = 1
batch = 1
lr = 0.0

[stage.scorer]
kind = "train-reward"
model = "start"
data = {names}
mixing = "equal"
train_blocks = 0
precision = "fp32"
truncation = "left-published"
{settings}
[stage.candidates]
kind = "generate"
model = "start"
prompts = "questions"
template = "raw"
samples = 4
max_new_tokens = {new_tokens}
temperature = 0.8
top_p = 0.95
precision = "bf16"
"""

PER_PRECISION = """
[stage.reward-{precision}]
kind = "train-reward"
model = "start"
data = {names}
mixing = "equal"
pooling = "last"
precision = "{precision}"
truncation = "left-published"
{settings}
[stage.sft-{precision}]
kind = "sft"
model = "start"
data = "examples"
precision = "{precision}"
{settings}
[stage.score-{precision}]
kind = "score"
model = "scorer"
responses = "candidates"
precision = "{precision}"
"""


class Experiment:
    """An experiment file in `folder` and the command that runs it."""

    def __init__(self, folder, plan):
        self.folder, self.plan = folder, plan
        self.file = folder / "peers.toml"
        folder.mkdir(parents=True, exist_ok=True)
        site = f'cache = "cache"\ntensorboard = false\nworker = "{plan.worker}"\n'
        (folder / "moreline.toml").write_text(site)

    def write(self, sets, examples, questions):
        """The rows of each set, the examples of `sft` and the prompts to sample from."""
        for name, pairs in sets.items():
            rows = [
                {"text": [p.prompt + p.chosen, p.prompt + p.rejected], "score": [1, 0]}
                for p in pairs
            ]
            data.write_lines(self.folder / f"{name}.jsonl", rows)
        rows = [{"prompt": p.prompt, "answer": p.chosen} for p in examples]
        data.write_lines(self.folder / "examples.jsonl", rows)
        rows = [{"prompt": p.prompt} for p in questions]
        data.write_lines(self.folder / "questions.jsonl", rows)
        self.file.write_text(self._text(list(sets)))

    def _text(self, names):
        plan = self.plan
        head = f'title = "Peers"\n[model.start]\nsource = "{plan.model}"\n'
        head += "".join(f'[data.{name}]\npath = "{name}.jsonl"\n' for name in names)
        for name in ["examples", "questions"]:
            head += f'[prompts.{name}]\npath = "{name}.jsonl"\n'
        values = {"names": json.dumps(names), "new_tokens": plan.new_tokens}
        text = head + STAGES.format(settings=self._settings(1), **values)
        for precision in plan.precisions:
            settings = self._settings(plan.steps[precision])
            text += PER_PRECISION.format(precision=precision, settings=settings, **values)
        return text

    def _settings(self, steps):
        return SETTINGS.format(longest=self.plan.longest, batch=self.plan.batch, steps=steps)

    def command(self, verb, *words):
        return [self.plan.moreline, verb, self.file, *words]

    def provide(self, stage):
        """A folder with a stage's output, computed unless it is in the store."""
        self._run("provide", stage, [])
        target = self.folder / f"{stage}.out"
        # What is there may be of other data.
        shutil.rmtree(target, ignore_errors=True)
        log = self.folder / "export.log"
        done = measure.run(self.command("export", stage, target), log, limit_mb=1e9)
        if done.code:
            raise SystemExit(f"moreline export failed:\n{done.tail()}")
        return target

    def timed(self, stage):
        """Computes a stage anew; what it took, and its steps."""
        events = Steps(self.folder / "cache" / "runs", stage)
        measured = self._run("timed", stage, ["--force", stage], events.look)
        return measured, events

    def _run(self, name, stage, words, watch=None):
        log = self.folder / f"{name}-{stage}.log"
        command = self.command("run", "--only", stage, *words)
        prefix = self.plan.prefix
        done = measure.run(command, log, limit_mb=self.plan.limit_mb, prefix=prefix, watch=watch)
        if done.code:
            raise SystemExit(f"moreline run --only {stage} failed:\n{done.tail()}")
        return done

    def record(self, stage):
        """What the store says of a stage's last computation."""
        log = self.folder / f"show-{stage}.json"
        done = measure.run(self.command("show", stage, "--json"), log, limit_mb=1e9)
        if done.code:
            raise SystemExit(f"moreline show {stage} failed:\n{done.tail()}")
        return json.loads(log.read_text())


class Steps:
    """The steps of a training, read from the run's journal as they come."""

    def __init__(self, runs, stage):
        self.runs, self.stage = runs, stage
        self.before = set(runs.iterdir()) if runs.exists() else set()
        self.found, self.first_ended, self.file = [], None, None

    def look(self):
        if self.file is None:
            new = set(self.runs.iterdir()) - self.before if self.runs.exists() else set()
            files = [run / "events.jsonl" for run in new if (run / "events.jsonl").exists()]
            if not files:
                return
            self.file = open(files[0], "rb")
        # A line that is still being written is read next time.
        while line := self.file.readline():
            if not line.endswith(b"\n"):
                self.file.seek(-len(line), 1)
                return
            self._take(json.loads(line))

    def _take(self, event):
        values = event.get("values", {})
        if event.get("event") != "scalars" or "tokens_per_s" not in values:
            return
        if self.first_ended is None:
            self.first_ended = time.time()
        seconds = values["tokens"] / values["tokens_per_s"]
        self.found.append({"seconds": seconds, **values})

    def startup(self, measured):
        """Seconds from the start of the process to the first step."""
        return self.first_ended - measured.started - self.found[0]["seconds"]
