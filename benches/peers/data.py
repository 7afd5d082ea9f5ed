"""Preference sets as texts and as the token ids that both sides train on."""

import itertools
import json
from dataclasses import dataclass
from pathlib import Path

from tokenizers import Tokenizer

# What precedes the last reply of a dialogue in the published forms.
MARKERS = ["\n\nAssistant:", "## Assistant:\n"]


@dataclass
class Pair:
    """A prompt and two replies; prompt + reply is the text, to the letter."""

    prompt: str
    chosen: str
    rejected: str


def sets_in(folder):
    """The three sets of a folder: name to file."""
    found = {}
    for name in ["helpful", "harmless", "webgpt", "honest"]:
        for ending in ["json", "jsonl"]:
            path = Path(folder) / f"{name}.train.{ending}"
            if path.exists() and len(found) < 3:
                found[name] = path
    if len(found) < 3:
        raise SystemExit(
            f"{folder} must hold helpful.train, harmless.train and webgpt.train or "
            "honest.train, as .json or .jsonl (experiments/hh.toml says what is in them)"
        )
    return found


def pairs_of(path):
    """The decided rows of a set: the best and the worst reply of each."""
    text = path.read_text(encoding="utf-8")
    rows = json.loads(text) if path.suffix == ".json" else map(json.loads, text.splitlines())
    pairs = (_pair(row) for row in rows)
    return [pair for pair in pairs if pair]


def _pair(row):
    if "chosen" in row:
        prompt = f"\n\nHuman: {row['prompt']}\n\nAssistant:"
        return Pair(prompt, " " + row["chosen"], " " + row["rejected"])
    best = max(range(len(row["score"])), key=lambda i: row["score"][i])
    worst = min(range(len(row["score"])), key=lambda i: row["score"][i])
    if row["score"][best] == row["score"][worst]:
        return None
    chosen, rejected = row["text"][best], row["text"][worst]
    ends = [chosen.rfind(marker) + len(marker) for marker in MARKERS if marker in chosen]
    prompt = chosen[: max(ends, default=0)]
    if not prompt or not rejected.startswith(prompt):
        return None
    return Pair(prompt, chosen[len(prompt) :], rejected[len(prompt) :])


class Ids:
    """Texts as moreline feeds them to a model; `folder` is one it exported."""

    def __init__(self, folder, longest):
        self.tokenizer = Tokenizer.from_file(str(Path(folder) / "tokenizer.json"))
        config = json.loads((Path(folder) / "tokenizer_config.json").read_text())
        self.bos = self.tokenizer.token_to_id(config["bos_token"])
        self.eos = self.tokenizer.token_to_id(config["eos_token"])
        self.adds_bos = bool(config.get("add_bos_token"))
        self.longest = longest

    def encode(self, text):
        return self.tokenizer.encode(text, add_special_tokens=False).ids

    def reward(self, text):
        """BOS, text, EOS, and of that the last `longest`."""
        return ([self.bos] + self.encode(text) + [self.eos])[-self.longest :]

    def pair(self, pair):
        return self.reward(pair.prompt + pair.chosen), self.reward(pair.prompt + pair.rejected)

    def comparable(self, pair):
        """Whether there is something to learn from a pair, cut as it is."""
        chosen, rejected = self.pair(pair)
        return chosen != rejected

    def imitable(self, pair):
        """Whether a pair's better reply can be learnt whole, and is one."""
        return bool(pair.chosen.strip()) and self.example(pair) is not None

    def example(self, pair):
        """Ids, and labels that hold -100 before the reply. `None` if it is too long."""
        start = [self.bos] if self.adds_bos else []
        ids = start + self.encode(pair.prompt + pair.chosen) + [self.eos]
        prompt = common(start + self.encode(pair.prompt), ids)
        if len(ids) > self.longest:
            return None
        return ids, [-100] * prompt + ids[prompt:]


def common(left, right):
    """Length of the common beginning."""
    length = 0
    for a, b in zip(left, right):
        if a != b:
            break
        length += 1
    return length


def first(pairs, count, good):
    """The first `count` good pairs."""
    kept = list(itertools.islice(filter(good, pairs), count))
    if len(kept) < count:
        raise SystemExit(f"a set has only {len(kept)} usable rows of the {count} that are needed")
    return kept


def write_lines(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
