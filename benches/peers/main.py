"""The same work by moreline and its peers; see benches/README.md."""

import signal
import sys

import cases
import data
import ours
import plan as planning
import table
from gemm_rates import model_flops


def main():
    # So that what it started ends with it.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    plan = planning.read()
    plan.work.mkdir(parents=True, exist_ok=True)
    experiment = ours.Experiment(plan.work, plan)
    bench = prepare(plan, experiment)
    comparisons = []
    for case in plan.cases:
        for precision in plan.precisions:
            comparison = getattr(bench, case)(precision)
            print(table.of_comparison(comparison), flush=True)
            comparisons.append(comparison)
    flops = model_flops(bench, comparisons) if "reward" in plan.cases else None
    text = table.page(plan, comparisons, flops)
    if plan.output:
        plan.output.parent.mkdir(exist_ok=True)
        plan.output.write_text(text)
    else:
        print(text)


def prepare(plan, experiment):
    """The experiment with rows that both sides can use, and the model as a folder."""
    raw = {name: data.pairs_of(path) for name, path in data.sets_in(plan.data).items()}
    some = [pairs[0] for pairs in raw.values()]
    experiment.write({name: pairs[:1] for name, pairs in raw.items()}, some, some)
    base = experiment.provide("base")
    ids = data.Ids(base, plan.longest)
    steps = max(plan.steps[precision] for precision in plan.precisions)
    count = -(-steps * plan.batch // len(raw))
    sets = {name: data.first(pairs, count, ids.comparable) for name, pairs in raw.items()}
    whole = [data.first(pairs, count, ids.imitable) for pairs in raw.values()]
    examples = [pair for row in zip(*whole) for pair in row][: steps * plan.batch]
    questions = data.first(raw["helpful"], plan.questions, ids.imitable)
    experiment.write(sets, examples, questions)
    return cases.Bench(plan, experiment, sets, examples, ids, base)


main()
