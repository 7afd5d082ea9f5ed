"""What is run, how often, and with what."""

import argparse
import json
from dataclasses import dataclass
from pathlib import Path

import measure

ROOT = Path(__file__).resolve().parents[2]
CASES = ["reward", "sft", "score"]
PRECISIONS = ["fp32", "bf16"]


@dataclass
class Plan:
    """One invocation."""

    cases: list
    precisions: list
    data: Path
    output: Path | None
    prefix: str
    repeats: int
    # Optimiser steps of each program; the first warms up and does not count.
    steps: dict
    # The same for the published loop, which is slow.
    published_steps: dict
    questions: int
    new_tokens: int
    quick: bool
    moreline: Path
    worker: Path
    work: Path
    limit_mb: float
    model: Path = ROOT / "models" / "SmolLM2-135M-Instruct.Q4_1.gguf"
    longest: int = 512
    batch: int = 16
    lr: float = 3e-5

    def task(self, name, **values):
        """Writes a task file for a peer's program; its path and that of its result."""
        file, result = self.work / f"{name}.task.json", self.work / f"{name}.result.json"
        result.unlink(missing_ok=True)
        file.write_text(json.dumps({"result": str(result), "lr": self.lr, **values}))
        return file, result


def read(arguments=None):
    """The plan that the command line asks for."""
    given = _parser().parse_args(arguments)
    bin_dir = given.bin.resolve()
    for program in ["moreline", "moreline-worker"]:
        if not (bin_dir / program).exists():
            raise SystemExit(f"{program} is not in {given.bin}: cargo build --release")
    if not Plan.model.exists():
        raise SystemExit("the demo's model is not in models/: make setup")
    precisions = given.precision.split(",")
    if not set(precisions) <= set(PRECISIONS):
        raise SystemExit(f"--precision takes {' and '.join(PRECISIONS)}, with a comma between")
    whole = not given.quick and not given.only and precisions == PRECISIONS
    output = given.output or (ROOT / "docs" / "benchmarks.md" if whole else None)
    return Plan(
        cases=given.only or CASES,
        precisions=precisions,
        data=given.data,
        output=output,
        prefix=given.prefix,
        repeats=given.repeats or (1 if given.quick else 3),
        steps={"fp32": 2, "bf16": 3} if given.quick else {"fp32": 2, "bf16": 4},
        published_steps={"fp32": 1, "bf16": 2},
        questions=16 if given.quick else 64,
        new_tokens=48 if given.quick else 96,
        quick=given.quick,
        moreline=bin_dir / "moreline",
        worker=bin_dir / "moreline-worker",
        work=given.work.resolve(),
        limit_mb=0.92 * measure.available_mb(),
    )


def _parser():
    parser = argparse.ArgumentParser(
        prog="benches/peers/run",
        description="The same work by moreline and by TRL, transformers and the published "
        "loop, in turn; a run of everything writes docs/benchmarks.md.",
    )
    add = parser.add_argument
    add("--quick", action="store_true", help="fewer steps, one repeat: for a first look")
    add("--data", type=Path, default=ROOT / "data" / "quickstart", metavar="DIR",
        help="folder with {helpful,harmless,webgpt}.train.json; the demo's short texts if absent")
    add("--repeats", type=int, metavar="N", help="runs of each program (3; quick: 1)")
    add("--only", choices=CASES, action="append", help="only this case; may be repeated")
    add("--precision", default=",".join(PRECISIONS), metavar="LIST", help="fp32,bf16")
    add("--output", type=Path, metavar="FILE", help="where the tables are written")
    add("--bin", type=Path, default=ROOT / "target" / "release", metavar="DIR",
        help="where moreline and moreline-worker are")
    add("--work", type=Path, default=ROOT / "target" / "peers", metavar="DIR",
        help="where rows, models and logs are kept between runs")
    add("--prefix", default="", metavar="COMMAND",
        help="put before each measured program, for example 'taskset -c 0,1'")
    return parser
