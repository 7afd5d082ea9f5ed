"""How near moreline's steps come to what matrix products alone allow."""

import json
import statistics
import sys

import data
import measure
from cases import HERE


def model_flops(bench, comparisons):
    """For each precision: FLOP/s of the model on the shared tokens, the rates of the
    matrix products at the tokens of a micro-batch, and their quotient."""
    config = json.loads((bench.base / "config.json").read_text())
    shapes, found = block_shapes(config), {}
    rewards = {c.precision: c for c in comparisons if c.case == "reward"}
    record = bench.experiment.record(f"reward-{min(rewards)}")
    budget = record["provenance"]["resources"]["token_budget"]
    tokens = {p: micro_batch(c.sides[0].runs[0].tokens, budget) for p, c in rewards.items()}
    gemms = measured_rates(bench.plan, shapes, tokens)
    for precision, comparison in rewards.items():
        ours = comparison.sides[0]
        counted = comparison.counted(ours)
        batch, rows = bench.plan.batch, bench.reward_rows(precision)
        steps = [rows[i : i + batch] for i in range(0, len(rows), batch)][counted]
        flops = sum(step_flops(step, shapes, config) for step in steps)
        rate = ours.median(lambda run: flops / sum(run.seconds[counted])) / 1e9
        found[precision] = {
            "model": rate, **gemms[precision], "tokens": tokens[precision],
            "share": rate / gemms[precision]["all"],
        }
    return found


def block_shapes(config):
    """The matrices `[out, in]` of a block."""
    hidden, inner = config["hidden_size"], config["intermediate_size"]
    queries = config["num_attention_heads"] * config["head_dim"]
    keys = config["num_key_value_heads"] * config["head_dim"]
    attention = [(queries, hidden), (keys, hidden), (keys, hidden), (hidden, queries)]
    return attention + [(inner, hidden), (inner, hidden), (hidden, inner)]


def step_flops(pairs, shapes, config):
    """6 FLOPs per token and weight of the blocks, and for attention 12 per head
    dimension and position attended to: each of forward and backward counts its
    products, a shared prompt once, nothing that is recomputed or padded."""
    layers = config["num_hidden_layers"]
    width = config["num_attention_heads"] * config["head_dim"]
    weights = layers * sum(rows * columns for rows, columns in shapes)
    tokens = attended = 0
    for chosen, rejected in pairs:
        shared = data.common(chosen, rejected)
        tokens += len(chosen) + len(rejected) - shared
        attended += triangle(len(chosen)) + triangle(len(rejected)) - triangle(shared)
    return 6 * weights * tokens + 12 * layers * width * attended


def triangle(length):
    return length * (length + 1) // 2


def micro_batch(tokens, budget):
    """Mean tokens of a micro-batch, for steps of these many tokens."""
    return round(statistics.mean(count / -(-count // budget) for count in tokens))


def measured_rates(plan, shapes, tokens):
    task, result = plan.task("gemm", shapes=shapes, tokens=tokens)
    log = plan.work / "gemm.log"
    command = [sys.executable, HERE / "gemm.py", task]
    done = measure.run(command, log, limit_mb=plan.limit_mb, prefix=plan.prefix)
    if done.code:
        raise SystemExit(f"the matrix products failed:\n{done.tail()}")
    return json.loads(result.read_text())
