"""Unpacks parts of a wheel.

usage: unpack.py WHEEL FOLDER PREFIX=TARGET...

Every member whose name starts with PREFIX is written to FOLDER/TARGET followed
by the rest of its name. A rule that matches nothing is an error.
"""

import os
import shutil
import sys
import zipfile


def rename(name, rules):
    """The target of a member and the rule that gave it, or None."""
    for prefix, target in rules:
        if name.startswith(prefix):
            return target + name[len(prefix) :], prefix
    return None


def main(wheel, folder, *rules):
    rules = [tuple(rule.split("=", 1)) for rule in rules]
    used = set()
    with zipfile.ZipFile(wheel) as archive:
        for member in archive.infolist():
            found = rename(member.filename, rules)
            if member.is_dir() or found is None:
                continue
            target, prefix = found
            if ".." in target.split("/"):
                sys.exit(f"{wheel}: the member {member.filename} leaves the folder")
            used.add(prefix)
            path = os.path.join(folder, target)
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with archive.open(member) as source, open(path, "wb") as sink:
                shutil.copyfileobj(source, sink, 1 << 20)
    for prefix, _ in rules:
        if prefix not in used:
            sys.exit(f"{wheel}: nothing in it is named {prefix}")


main(*sys.argv[1:])
