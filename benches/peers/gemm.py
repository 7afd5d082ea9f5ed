"""Rates of the matrix products of a block: forward, input gradient, weight gradient."""

import json
import statistics
import time
from pathlib import Path

import torch

import peer

REPEATS = 7


def seconds(work):
    """Median seconds of a call, after two to warm up."""
    times = []
    for _ in range(REPEATS + 2):
        began = time.perf_counter()
        work()
        times.append(time.perf_counter() - began)
    return statistics.median(times[2:])


def rates(shapes, tokens, dtype):
    """GFLOP/s of each kind of product over all matrices `[out, in]`, and of all."""
    spent, flops = {"forward": 0.0, "input": 0.0, "weight": 0.0}, 0
    for rows, columns in shapes:
        weight = torch.randn(rows, columns, dtype=dtype)
        x, grad = torch.randn(tokens, columns, dtype=dtype), torch.randn(tokens, rows, dtype=dtype)
        spent["forward"] += seconds(lambda: torch.nn.functional.linear(x, weight))
        spent["input"] += seconds(lambda: grad @ weight)
        spent["weight"] += seconds(lambda: grad.t() @ x)
        flops += 2 * rows * columns * tokens
    found = {kind: flops / time / 1e9 for kind, time in spent.items()}
    found["all"] = 3 * flops / sum(spent.values()) / 1e9
    return found


@torch.no_grad()
def main():
    task = peer.task()
    dtypes = {"fp32": torch.float32, "bf16": torch.bfloat16}
    found = {
        precision: rates(task["shapes"], tokens, dtypes[precision])
        for precision, tokens in task["tokens"].items()
    }
    Path(task["result"]).write_text(json.dumps(found))


main()
