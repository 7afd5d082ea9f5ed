"""Times three engines on the same five stages, and tries to fool them."""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from projects import BIN, MORELINE, Dvc, Ours, Snakemake, SnakemakeSums

REPORT = Path("docs/benchmarks-engine.md")
RESULTS = Path("target/engine-bench")


class Table:
    """Rows of cells, one column for each engine."""

    def __init__(self, columns):
        self.columns, self.rows = columns, []

    def add(self, what, cells):
        self.rows.append([what, *cells])
        print("  ".join([what, *cells]), flush=True)

    def markdown(self):
        lines = [["", *self.columns], ["---"] * (len(self.columns) + 1), *self.rows]
        return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def shown(seconds):
    return f"{seconds * 1000:.0f} ms" if seconds < 1 else f"{seconds:.2f} s"


def medians(projects, repeats, command, before=lambda project: None):
    """Medians of whole processes, the engines in turn."""
    times = {project: [] for project in projects}
    said = {}
    for _ in range(repeats):
        for project in projects:
            if before(project) is False:
                continue
            seconds, said[project] = project.call(command(project))
            times[project].append(seconds)
    return {p: statistics.median(t) for p, t in times.items() if t}, said


def cells(projects, found, note=lambda project: ""):
    return [shown(found[p]) + note(p) if p in found else "-" for p in projects]


def small(projects, repeats, table):
    for project in projects:
        project.call(project.run())
    found, said = medians(projects, repeats, lambda p: p.run())
    for project in projects:
        assert project.reran(said[project]) == 0, said[project]
    table.add("no-op run", cells(projects, found))
    found, _ = medians(projects, repeats, lambda p: p.ask())
    table.add("`plan`, `dvc status`, `--dry-run`", cells(projects, found))


def first(projects, repeats, table):
    found, said = medians(projects, repeats, lambda p: p.run(), lambda p: p.forget_all())
    for project in projects:
        assert project.reran(said[project]) == 5, said[project]
    table.add("first run", cells(projects, found))


def hashed(projects, repeats, table):
    for project in projects:
        project.call(project.run())
    found, _ = medians(projects, repeats, lambda p: p.ask(), lambda p: p.forget_digests())
    table.add("`plan`, `dvc status` that hash everything", cells(projects, found))


def settle():
    """Lets files grow old: what changed less than two seconds ago is hashed each time."""
    time.sleep(2.5)


def large(projects, repeats, table):
    hashed(projects, repeats, table)
    settle()
    for project in projects:
        project.call(project.run())
    found, _ = medians(projects, repeats, lambda p: p.run())
    table.add("no-op run", cells(projects, found))
    ran = {project: 0 for project in projects}

    def touch(project):
        (project.root / "model/model.safetensors").touch()

    times = {project: [] for project in projects}
    for _ in range(repeats):
        for project in projects:
            touch(project)
        settle()
        for project in projects:
            seconds, said = project.call(project.run())
            times[project].append(seconds)
            ran[project] = max(ran[project], project.reran(said))
    found = {project: statistics.median(t) for project, t in times.items()}
    table.add("run after `touch`", cells(projects, found, lambda p: f", {ran[p]} reran"))


def swap_byte(path: Path):
    """Another byte of the same length, with the old modification time."""
    stat = path.stat()
    data = bytearray(path.read_bytes())
    place = data.index(b"No.") if b"No." in data else 0
    data[place] ^= 1
    mode = stat.st_mode
    path.chmod(0o644)
    path.write_bytes(data)
    path.chmod(mode)
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))


def kept_bytes(project):
    """A file in which the engine keeps an output, and the same as its user reads it."""
    if project.name == "moreline":
        link = next((project.root / "cache/views").glob("*/responses.jsonl"))
        return link.resolve()
    return project.root / "gen.txt"


def fooled(projects, _, table):
    for project in projects:
        project.call(project.run())
    settle()
    for project in projects:
        project.call(project.run())
    answers = []
    for project in projects:
        swap_byte(project.root / "pairs.jsonl")
        _, said = project.call(project.run())
        answers.append("noticed" if project.reran(said) else "**not noticed**")
    table.add("an input's byte changed, its time restored", answers)
    answers = []
    for project in projects:
        output = kept_bytes(project)
        before = output.read_bytes()
        swap_byte(output)
        project.call(project.run())
        answers.append("made good" if output.read_bytes() == before else "**kept as a result**")
    table.add("an output's byte changed, its time restored", answers)


def version(command):
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return done.stdout.split()[-1]


def cpu():
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":")[1].strip()
    return platform.processor()


def save(part, table, arguments):
    """Keeps a part's rows: parts may be measured one by one."""
    RESULTS.mkdir(parents=True, exist_ok=True)
    found = {"columns": table.columns, "rows": table.rows, "repeats": arguments.repeats,
             "gib": arguments.gib, "moreline": version([MORELINE, "--version"])}
    (RESULTS / f"{part}.json").write_text(json.dumps(found))


def report():
    parts = {part: json.loads((RESULTS / f"{part}.json").read_text()) for part in PARTS}
    large = parts["large"]
    versions = ", ".join([
        f"moreline {large['moreline']}", f"DVC {version([BIN / 'dvc', '--version'])}",
        f"Snakemake {version([BIN / 'snakemake', '--version'])}"])
    text = f"""# The engine beside DVC and Snakemake

Written by `benches/engine/run`. The same five stages for each: two inputs, a model file, an import,
a training, a sampling, a scoring and a selection, all of which compute nothing. Whole processes,
median of {large['repeats']}, the engines in turn, files in the page cache.

{versions}; Python {platform.python_version()}; {cpu()}, {os.cpu_count()} cores, {platform.system()}
{platform.release().split('-')[0]}. `touch` was 2.5 s before the run.

"Snakemake" looks at modification times, its default for files over 1 MB; "Snakemake with
checksums" has `--max-checksum-file-size` raised so that it hashes all inputs; it has no command that
only hashes. What is marked as not noticed or kept is a wrong result that nobody is told of; DVC and
Snakemake keep outputs in the working directory, ours were changed in its cache.

"""
    for title, names in [("Small files", ["small"]),
                         (f"A model file of {large['gib']:g} GiB", ["first", "large"]),
                         ("Changes that are hard to see", ["fooled"])]:
        table = Table(large["columns"])
        table.rows = [row for name in names for row in parts[name]["rows"]]
        text += f"## {title}\n\n{table.markdown()}\n"
    REPORT.parent.mkdir(exist_ok=True)
    REPORT.write_text(text.rstrip("\n") + "\n")
    print(f"written: {REPORT}")


def measure(part, arguments):
    size = int(arguments.gib * (1 << 30)) if part in ["first", "large"] else 1024
    with tempfile.TemporaryDirectory(prefix="engines-") as root:
        kinds = [Ours, Dvc, Snakemake, SnakemakeSums]
        projects = [kind(Path(root), size) for kind in kinds]
        table = Table([project.name for project in projects])
        MEASURES[part](projects, arguments.repeats, table)
        save(part, table, arguments)


MEASURES = {"small": small, "first": first, "large": large, "fooled": fooled}
PARTS = list(MEASURES)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--gib", type=float, default=1.0, help="size of the large model file")
    parser.add_argument("--part", action="append", choices=PARTS,
                        help="measure only this; may be repeated")
    arguments = parser.parse_args()
    for part in arguments.part or PARTS:
        measure(part, arguments)
    if all((RESULTS / f"{part}.json").exists() for part in PARTS):
        report()


if __name__ == "__main__":
    sys.exit(main())
