"""Runs a program and watches the memory of its process tree."""

import os
import shlex
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

EVERY = 0.05


@dataclass
class Measured:
    """What a run cost. `outgrew` says that it was killed for its memory."""

    started: float
    seconds: float
    peak_mb: float
    outgrew: bool
    code: int
    log: Path

    def tail(self):
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-15:])


def run(command, log, *, limit_mb, prefix="", watch=None, environment=None):
    """Runs `command` to its end with its output in `log`, or kills it once its tree
    holds more than `limit_mb`. `watch` is called every 50 ms. The clock starts behind
    `prefix`, which may wait for something."""
    began = Path(f"{log}.began")
    stamp = ["sh", "-c", 'date +%s.%N >"$0" && exec "$@"', began]
    with open(log, "wb") as out:
        child = subprocess.Popen(
            shlex.split(prefix) + [str(word) for word in stamp + list(command)],
            stdout=out,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
            env={**os.environ, **(environment or {})},
        )
        try:
            peak, outgrew = _follow(child, limit_mb, watch)
        finally:
            _kill(child)
    started = float(began.read_text())
    return Measured(started, time.time() - started, peak, outgrew, child.returncode, Path(log))


def _follow(child, limit_mb, watch):
    peak = 0.0
    while child.poll() is None:
        resident, highest = _tree_memory(child.pid)
        peak = max(peak, resident, highest)
        if resident > limit_mb:
            _kill(child)
            return peak, True
        if watch:
            watch()
        time.sleep(EVERY)
    if watch:
        watch()
    return peak, False


def _kill(child):
    if child.poll() is None:
        os.killpg(child.pid, signal.SIGKILL)
    child.wait()


def _tree_memory(root):
    """Megabytes: resident now in all processes together, and the highest mark that
    one of them ever reached (which sees peaks between two looks)."""
    resident = highest = 0.0
    waiting = [root]
    while waiting:
        pid = waiting.pop()
        try:
            status = Path(f"/proc/{pid}/status").read_text()
            for task in os.listdir(f"/proc/{pid}/task"):
                waiting += Path(f"/proc/{pid}/task/{task}/children").read_text().split()
        except OSError:
            continue
        resident += _field(status, "VmRSS")
        highest = max(highest, _field(status, "VmHWM"))
    return resident, highest


def _field(status, name):
    for line in status.splitlines():
        if line.startswith(name + ":"):
            return int(line.split()[1]) / 1000 * 1.024
    return 0.0


def available_mb():
    """Megabytes that programs can still have."""
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1.024 / 1000
    raise RuntimeError("/proc/meminfo does not say how much memory there is")
