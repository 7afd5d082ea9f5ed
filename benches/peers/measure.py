"""Runs a program and watches the memory of its process tree."""

import os
import resource
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
    # Share of the processors that other programs had meanwhile.
    others: float
    code: int
    log: Path

    def tail(self):
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-15:])


def run(command, log, *, limit_mb, prefix="", watch=None, environment=None):
    """Runs `command` to its end with its output in `log`, or kills it once its tree
    holds more than `limit_mb`. `watch` is called every 50 ms. The clock starts behind
    `prefix`, which may wait for something."""
    began = Path(f"{log}.began")
    began.unlink(missing_ok=True)
    before = _children_seconds()
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
            peak, outgrew, busy = _follow(child, limit_mb, watch, began)
        finally:
            _kill(child)
    started = float(began.read_text())
    seconds = time.time() - started
    others = busy - (_children_seconds() - before)
    others = max(0.0, others / (seconds * os.cpu_count()))
    return Measured(started, seconds, peak, outgrew, others, child.returncode, Path(log))


def _follow(child, limit_mb, watch, began):
    """Peak megabytes, whether that was too much, and the seconds that all processors
    were busy since the program began."""
    peak, start = 0.0, _busy_seconds()
    while child.poll() is None:
        if not began.exists():
            start = _busy_seconds()
        resident, highest = _tree_memory(child.pid)
        peak = max(peak, resident, highest)
        if resident > limit_mb:
            _kill(child)
            return peak, True, _busy_seconds() - start
        if watch:
            watch()
        time.sleep(EVERY)
    if watch:
        watch()
    return peak, False, _busy_seconds() - start


def _busy_seconds():
    """Processor seconds spent since the machine started, by whatever."""
    fields = Path("/proc/stat").read_text().splitlines()[0].split()[1:]
    user, nice, system, _idle, _waiting, *interrupts = map(int, fields[:8])
    return (user + nice + system + sum(interrupts)) / os.sysconf("SC_CLK_TCK")


def _children_seconds():
    """Processor seconds of the programs started here that have ended."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


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
