"""The three comparisons: each program's runs, in turn."""

import json
import statistics
import sys
from dataclasses import dataclass, field
from pathlib import Path

import data
import measure
import order

HERE = Path(__file__).resolve().parent
OURS = "moreline"


@dataclass
class Run:
    """One run of one program."""

    # Seconds of each step, the first included, and what it worked on.
    seconds: list
    items: list
    losses: list
    startup: float
    peak_mb: float
    # Share of the processors that other programs had meanwhile.
    others: float
    tokens: list = field(default_factory=list)
    rewards: list = field(default_factory=list)

    def rate(self, counted):
        """Items per second over some steps."""
        return sum(self.items[counted]) / sum(self.seconds[counted])


@dataclass
class Side:
    """A program and its runs; `failed` says why there are none."""

    name: str
    runs: list = field(default_factory=list)
    note: str = ""
    failed: str = ""

    def median(self, value):
        return statistics.median(value(run) for run in self.runs)


@dataclass
class Comparison:
    """What the programs took for the same work; ours is the first side."""

    case: str
    precision: str
    unit: str
    sides: list

    def counted(self, side):
        """The steps that count: those both took, but the first where there are more."""
        steps = min(len(run.seconds) for run in side.runs + self.sides[0].runs)
        return slice(1 if steps > 1 else 0, steps)

    def rate(self, side):
        """Items per second, the median of the runs."""
        counted = self.counted(side)
        return side.median(lambda run: run.rate(counted))

    def ratio(self, side):
        """How many times faster ours is, the median over the rounds."""
        counted = self.counted(side)
        rounds = zip(self.sides[0].runs, side.runs)
        return statistics.median(ours.rate(counted) / peer.rate(counted) for ours, peer in rounds)


def say(text):
    print(text, file=sys.stderr, flush=True)


class Bench:
    """All comparisons of a plan, on one experiment."""

    def __init__(self, plan, experiment, sets, examples, ids, base):
        self.plan, self.experiment = plan, experiment
        self.sets, self.examples, self.ids, self.base = sets, examples, ids, base

    def reward(self, precision):
        """Reward training against RewardTrainer and the published loop."""
        plan = self.plan
        rows = self.reward_rows(precision)
        config = json.loads((self.base / "config.json").read_text())
        head = order.reward_head(config["hidden_size"], seed=0)
        trl = Peer("TRL RewardTrainer", "trl_reward.py", {"rows": rows, "head": head})
        steps = plan.published_steps[precision]
        published = Peer(
            "published loop, re-enacted", "published_loop.py",
            {"rows": rows, "head": head, "steps": steps}, device_batch=4,
        )
        sides = self.in_turn(f"reward-{precision}", precision, [trl, published])
        check_tokens(sides[0], rows, plan.batch)
        return Comparison("reward", precision, "pairs", sides)

    def sft(self, precision):
        """Fine-tuning against SFTTrainer, without packing and with."""
        rows = [self.ids.example(pair) for pair in self.sft_rows(precision)]
        plain = Peer("TRL SFTTrainer", "trl_sft.py", {"rows": rows, "packing": False})
        # So many rows of full length that a step holds about as many examples.
        full = sum(len(ids) for ids, _ in rows) / self.plan.longest
        at_once = max(1, round(full / self.plan.steps[precision]))
        packing = {"rows": rows, "packing": True, "batch": at_once}
        packed = Peer("TRL SFTTrainer, packing", "trl_sft.py", packing, at_once)
        peers = [plain, packed]
        sides = self.in_turn(f"sft-{precision}", precision, peers)
        if sides[2].runs:
            held = statistics.mean(sides[2].runs[0].items)
            sides[2].note += f"{held:.0f} examples a step, other batches"
        return Comparison("sft", precision, "examples", sides)

    def score(self, precision):
        """Scoring four responses per prompt against transformers."""
        model = self.experiment.provide("scorer")
        responses = self.experiment.provide("candidates") / "responses.jsonl"
        lines = map(json.loads, responses.read_text().splitlines())
        texts = [
            line["prompt"][0]["content"] + response["text"]
            for line in lines
            for response in line["responses"]
        ]
        rows = [self.ids.reward(text) for text in texts]
        peer = Peer("transformers", "score_transformers.py", {"rows": rows, "model": str(model)})
        sides = self.in_turn(f"score-{precision}", precision, [peer])
        return Comparison("score", precision, "responses", sides)

    def reward_rows(self, precision):
        """Ids of the pairs in the order in which moreline takes them."""
        sets = list(self.sets.values())
        taken = order.mixed_equally(
            [len(pairs) for pairs in sets], self.plan.steps[precision] * self.plan.batch, 0
        )
        return [self.ids.pair(sets[index][row]) for index, row in taken]

    def sft_rows(self, precision):
        rows = self.plan.steps[precision] * self.plan.batch
        return [self.examples[i] for i in order.one_set(len(self.examples), rows, 0)]

    def in_turn(self, stage, precision, peers):
        """Every program once, then every program again, as often as the plan says."""
        ours = Side(OURS)
        sides = [Side(peer.name) for peer in peers]
        for turn in range(self.plan.repeats):
            say(f"{stage}, round {turn + 1} of {self.plan.repeats}: {OURS}")
            ours.runs.append(self.ours(stage))
            for peer, side in zip(peers, sides):
                if not side.failed:
                    say(f"{stage}, round {turn + 1}: {peer.name}")
                    self.peer(f"{stage}-{peer.program}", precision, peer, side)
        return [ours] + sides

    def ours(self, stage):
        measured, steps = self.experiment.timed(stage)
        if not stage.startswith("score"):
            seconds = [step["seconds"] for step in steps.found]
            losses = [step["loss"] for step in steps.found]
            tokens = [step["tokens"] for step in steps.found]
            items, startup = [self.plan.batch] * len(seconds), steps.startup(measured)
            peak, others = measured.peak_mb, measured.others
            return Run(seconds, items, losses, startup, peak, others, tokens)
        record = self.experiment.record(stage)
        timings = record["provenance"]["timings"]
        lines = Path(record["outputs"]["responses.jsonl"]).read_text().splitlines()
        rewards = [r["score"] for line in lines for r in json.loads(line)["responses"]]
        startup = measured.seconds - timings["work_s"]
        work = [timings["work_s"]]
        peak, others = measured.peak_mb, measured.others
        return Run(work, [len(rewards)], [], startup, peak, others, rewards=rewards)

    def peer(self, name, precision, peer, side):
        """One run of a peer, with smaller micro-batches if it outgrows the memory."""
        while True:
            measured, result = self.start(name, precision, peer)
            if measured.outgrew:
                side.note += f"outgrew {self.plan.limit_mb / 1000:.0f} GB at {peer.device_batch} "
                side.note += f"{peer.unit} at a time; "
                peer.device_batch //= 2
                if peer.device_batch:
                    continue
                side.failed = "killed for its memory"
            elif measured.code:
                raise SystemExit(f"{peer.name} failed:\n{measured.tail()}")
            else:
                result = json.loads(result.read_text())
                side.runs.append(peer_run(measured, result, self.plan.batch))
            return

    def start(self, name, precision, peer):
        plan = self.plan
        values = {
            "model": str(self.base),
            "steps": plan.steps[precision],
            "batch": plan.batch,
            "device_batch": peer.device_batch,
            "longest": plan.longest,
            "precision": precision,
            **peer.values,
        }
        task, result = plan.task(name, **values)
        command = [sys.executable, HERE / peer.program, task]
        log = plan.work / f"{name}.log"
        quiet = {"HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
        measured = measure.run(
            command, log, limit_mb=plan.limit_mb, prefix=plan.prefix, environment=quiet
        )
        return measured, result


@dataclass
class Peer:
    """A peer's program and what its task file holds besides the usual."""

    name: str
    program: str
    values: dict
    device_batch: int = 8
    unit: str = "rows"


def peer_run(measured, found, batch):
    """A peer's result file as a run; its steps are of `batch` rows unless it says."""
    steps = found["steps"]
    return Run(
        [step["seconds"] for step in steps],
        [step.get("items", batch) for step in steps],
        [step["loss"] for step in steps if "loss" in step],
        found["first_began"] - measured.started,
        measured.peak_mb,
        measured.others,
        rewards=found.get("rewards", []),
    )


def check_tokens(ours, rows, batch):
    """Refuses to compare if moreline did not take the rows that the peers got."""
    for index, tokens in enumerate(ours.runs[0].tokens):
        step = rows[index * batch : (index + 1) * batch]
        expected = sum(len(a) + len(b) - data.common(a, b) for a, b in step)
        if abs(tokens - expected) > 0.01 * expected:
            raise SystemExit(
                f"moreline computed {tokens:.0f} tokens in step {index + 1}, not {expected}: "
                "it took other rows than order.py says"
            )
