"""The tables, as Markdown."""

import os
import platform
import subprocess
from importlib.metadata import version
from pathlib import Path

from plan import ROOT

TITLES = {
    "reward": "Reward training",
    "sft": "Fine-tuning",
    "score": "Scoring four responses per prompt",
}
EXPLAINED = {
    "reward": "Three preference sets mixed equally, texts of at most {longest} tokens, "
    "{batch} pairs a step, AdamW, the same pairs in the same order from the same weights "
    "and the same reward head. TRL takes {trl} pairs at a time, padded to the longest of "
    "them, without gradient checkpointing; the published loop takes 4 pairs at a time, pads to "
    "{longest}, computes logits on every token, and checkpoints. In bf16 the peers run under "
    "autocast with fp32 weights.",
    "sft": "{batch} examples a step, loss on the response and its end token, from the same weights "
    "in the same order. TRL takes {trl} examples at a time, padded to the longest of them; with "
    "packing (bfd) it fills rows of {longest} tokens, whose steps hold other examples.",
    "score": "Responses sampled from the model, scored by one reward model. transformers takes "
    "16 texts at a time, sorted by length; its weights are in the precision of the row.",
}


def of_comparison(comparison):
    """The comparison's table and the losses of its programs."""
    lines = [
        f"| {comparison.precision} | {comparison.unit} per second | moreline is faster by "
        "| start-up, s | peak memory, MB | |",
        "| --- | ---: | ---: | ---: | ---: | --- |",
    ]
    lines += [_row(comparison, side) for side in comparison.sides]
    text = "\n".join(lines) + "\n"
    if any(side.runs and side.runs[0].losses for side in comparison.sides):
        text += "\n" + _losses(comparison)
    if comparison.case == "score":
        text += "\n" + _rewards(comparison)
    return text


def _row(comparison, side):
    if not side.runs:
        return f"| {side.name} | | | | | {side.note}{side.failed} |"
    ours = side is comparison.sides[0]
    ratio = "" if ours else f"{comparison.ratio(side):.2f}"
    startup = side.median(lambda run: run.startup)
    peak = side.median(lambda run: run.peak_mb)
    share = peak / comparison.sides[0].median(lambda run: run.peak_mb)
    memory = f"{peak:,.0f}" if ours else f"{peak:,.0f} ({share:.1f} x)"
    rate = comparison.rate(side)
    note = side.note + _disturbed(side)
    return f"| {side.name} | {rate:.3g} | {ratio} | {startup:.1f} | {memory} | {note} |"


def _disturbed(side):
    """Says so if other programs ran meanwhile: figures of such runs are worth nothing, for
    two programs suffer differently."""
    most = max(run.others for run in side.runs)
    return f" **disturbed**: others had {most:.0%} of the processors" if most > 0.05 else ""


def _losses(comparison):
    longest = max(len(side.runs[0].losses) for side in comparison.sides if side.runs)
    steps = " | ".join(str(step + 1) for step in range(longest))
    lines = [f"| loss after step | {steps} |", "| --- |" + " ---: |" * longest]
    for side in comparison.sides:
        if side.runs and side.runs[0].losses:
            losses = [f"{loss:.4f}" for loss in side.runs[0].losses]
            cells = losses + [""] * (longest - len(losses))
            lines.append(f"| {side.name} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def _rewards(comparison):
    ours = comparison.sides[0].runs[0].rewards
    lines = []
    for side in comparison.sides[1:]:
        if side.runs:
            apart = max(abs(a - b) for a, b in zip(ours, side.runs[0].rewards, strict=True))
            spread = max(ours) - min(ours)
            lines.append(
                f"Rewards of {side.name} and moreline differ by at most {apart:.2g}; "
                f"they span {spread:.2g}.\n"
            )
    return "".join(lines)


def page(plan, comparisons, flops):
    """The whole document."""
    parts = ["# Benchmarks\n", _about(plan)]
    for case in plan.cases:
        parts.append(f"## {TITLES[case]}\n")
        parts.append(EXPLAINED[case].format(longest=plan.longest, batch=plan.batch, trl=8) + "\n")
        parts += [of_comparison(c) for c in comparisons if c.case == case]
    if flops:
        parts.append(_flops(flops))
    return "\n".join(parts)


def _about(plan):
    sizes = "A quick run: " if plan.quick else ""
    own = plan.data == ROOT / "data" / "quickstart"
    data = "`data/quickstart`" if own else "the sets given by `--data`"
    return (
        "Written by `benches/peers/run`; `benches/README.md` says how to repeat it.\n\n"
        f"{sizes}SmolLM2-135M-Instruct, {data}. {_machine()}. moreline at commit "
        f"{_commit()}; {_versions()}.\n\n"
        f"Every program ran {plan.repeats} time(s), in turn. A rate is the median over the runs; "
        "a ratio is the median over the rounds of the seconds that both took for the same steps. "
        "Steps are timed inside each program; the first of a run warms up and does not "
        "count where there are more. Start-up is the time from the start of the process (of "
        "`moreline run`, with planning and its worker) to the first step. Peak memory is that of "
        "the process and its children together, and in brackets how many times moreline's it is.\n"
    )


def _machine():
    names = [
        line.split(":", 1)[1].strip()
        for line in Path("/proc/cpuinfo").read_text().splitlines()
        if line.startswith("model name")
    ]
    flags = Path("/proc/cpuinfo").read_text()
    wide = [name for name in ["avx2", "avx512f", "avx512_bf16", "amx_bf16"] if f" {name}" in flags]
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    name = names[0] if names else platform.processor()
    return f"{name}, {os.cpu_count()} cores, {' '.join(wide)}, {memory:.0f} GB"


def _commit():
    command = ["git", "-C", str(ROOT), "rev-parse", "--short", "HEAD"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout.strip() or "unknown"


def _versions():
    packages = ["torch", "transformers", "trl", "accelerate"]
    return ", ".join(f"{package} {version(package)}" for package in packages)


def _flops(flops):
    lines = [
        "## How near to the matrix products\n",
        "FLOP/s of the model in reward training: 6 x (weights of the blocks' matrices) x tokens "
        "+ 12 x layers x (heads x head dimension) x positions attended to, over the tokens that "
        "are computed (a shared prompt once), divided by the seconds of whole steps, optimiser "
        "included. Beside it the rates of the products alone, measured with torch "
        "at the shapes of a block and the mean tokens of a micro-batch.\n",
        "| | model, GFLOP/s | products, GFLOP/s | forward | input gradient | weight gradient "
        "| tokens | share |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for precision, found in flops.items():
        rates = " | ".join(f"{found[kind]:.0f}" for kind in ["all", "forward", "input", "weight"])
        lines.append(
            f"| {precision} | {found['model']:.0f} | {rates} | {found['tokens']} "
            f"| {found['share']:.0%} |"
        )
    return "\n".join(lines) + "\n"
