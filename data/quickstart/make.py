#!/usr/bin/env python3
"""Deal the hand-written material into the preference files of the quickstart.

Plain Python 3, no packages, no randomness beyond a fixed seed: running it again
gives the same bytes.

    python3 make.py            write the files and print the baselines
    python3 make.py --check    write nothing; fail if a file would change

Every prompt comes with several good and several bad replies. The dealer walks
through the prompts and picks, among all pairs of wordings that fit, the pair
that leaves the words and the lengths on the chosen and the rejected side most
evenly spread. What remains to tell the sides apart is what the replies mean.
"""

import json
import random
import re
import sys
from collections import Counter
from pathlib import Path

sys.dont_write_bytecode = True
import baselines  # noqa: E402

HERE = Path(__file__).resolve().parent
MATERIAL = HERE / "material"
TASKS = ("helpful", "harmless", "honest", "concise", "polite")
ROWS = {"train": 300, "test": 120, "judge": 48}
SHARES = {"train": 0.60, "test": 0.26, "judge": 0.14}
MAX_UNITS = 55
SWEEPS = 6

NOT_AN_ORDER = ("In", "Three", "A", "Eat", "Removable", "Never", "Face", "By", "To", "One", "Half", "Iron")

HOWTO_FRAMES = {
    "train": (
        "How do I {v}?",
        "I want to {v}. Where do I start?",
        "Any tips on how to {v}?",
        "Can you tell me how to {v}?",
        "I have never managed to {v}. What am I missing?",
        "What is the trick if one wants to {v}?",
    ),
    "test": (
        "What is a good way to {v}?",
        "Please explain how one can {v}.",
        "This weekend I would like to {v}. Any advice?",
        "My son asks how to {v}. What should I say?",
    ),
    "judge": (
        "How does one {v}?",
        "Show me how to {v}.",
        "I am trying to {v}. What do you suggest?",
        "What do I need to know to {v}?",
        "Could you teach me to {v}?",
        "We plan to {v} tomorrow. Some guidance?",
        "Is there a simple method to {v}?",
        "Where should a beginner start to {v}?",
    ),
}
HARM_FRAMES = {
    "train": (
        "I want to {v}.",
        "Help me {v}.",
        "Would it be so bad to {v}?",
        "I have decided to {v}. What do you think?",
        "A friend told me to {v}. Should I?",
    ),
    "test": (
        "I feel like I should {v}. Any ideas?",
        "Tomorrow I am going to {v}.",
        "Why should I not {v}?",
        "Give me a plan to {v}.",
    ),
    "judge": (
        "I am about to {v}.",
        "Is it all right to {v}?",
        "Tonight I will {v}. Thoughts?",
        "Tell me the best way to {v}.",
    ),
}
SAY_FRAMES = {
    "train": ("{s}", "{s} What now?", "Hello. {s}", "To be open with you: {s}"),
    "test": ("{s}", "I have to tell you something. {s}", "{s} I just wanted to say it.", "Well. {s}"),
    "judge": ("{s}", "Listen: {s}", "{s} Hm.", "It is like this. {s}"),
}
ASK_FRAMES = {
    "train": ("{q}", "Quick question: {q}", "{q} I am curious.", "Tell me: {q}"),
    "test": ("{q}", "I have been wondering: {q}", "{q} Please answer.", "So, {l}"),
    "judge": ("{q}", "One more thing: {q}", "{q} I would like to know.", "Hi! {q}"),
}
CLAIM_FRAMES = {
    "train": ("I am sure that {c}.", "My brother says that {c}. Is he right?", "Is it true that {c}?"),
    "test": ("I read that {c}. Correct?", "Everyone here believes that {c}.", "Would you agree that {c}?"),
    "judge": ("I was told that {c}. Is that so?", "It seems to me that {c}.", "Can you confirm that {c}?"),
}


def read_table(name):
    """The rows of a `|`-separated material file, comments left out."""
    lines = (MATERIAL / name).read_text(encoding="utf-8").splitlines()
    return [
        [cell.strip() for cell in line.split("|")]
        for line in lines
        if line.strip() and not line.startswith("#")
    ]


def read_voices():
    """The sections of voices.txt: name -> list of wordings."""
    sections, current = {}, None
    for line in (MATERIAL / "voices.txt").read_text(encoding="utf-8").splitlines():
        if line.startswith("[") and line.endswith("]"):
            current = sections.setdefault(line[1:-1], [])
        elif line.strip() and not line.startswith("#"):
            current.append(line.strip())
    return sections


def deal_topics(rows, rng):
    """Split topics (not prompts) over train, test and judge."""
    rows = rows[:]
    rng.shuffle(rows)
    test = max(2, round(len(rows) * SHARES["test"]))
    judge = max(2, round(len(rows) * SHARES["judge"]))
    return {"test": rows[:test], "judge": rows[test : test + judge], "train": rows[test + judge :]}


def upper(text):
    """The text with its first letter in upper case."""
    return text[:1].upper() + text[1:]


class Material:
    """All topics and voices of one split."""

    def __init__(self, split, tables, voices):
        self.split = split
        self.styles = {}  # reply -> the voice it was made with
        self.tables = {name: parts[split] for name, parts in tables.items()}
        kind = "test" if split == "test" else "train"
        self.voices = {
            name.rsplit(".", 1)[0]: lines
            for name, lines in voices.items()
            if name.endswith("." + kind)
        }

    def voice(self, name, **slots):
        """Every wording of a voice with its slots filled in."""
        out = [upper(line.format(**slots)) for line in self.voices[name]]
        self.styles.update(zip(out, self.voices[name]))
        return out

    def around(self, name, text, after=False):
        """A text with every wording of a voice before or after it."""
        out = []
        for line in self.voices[name]:
            whole = f"{text} {line}" if after else f"{line} {text}"
            self.styles[whole] = line
            out.append(whole)
        return out


class Slot:
    """A prompt with its good and its bad replies, before wordings are picked."""

    def __init__(self, kind, prompt, good, bad):
        self.kind, self.prompt, self.good, self.bad = kind, prompt, good, bad


def framed(frames, rows, fill):
    """All (row, prompt) combinations, rotating the frames over the rows."""
    out = []
    for turn in range(len(frames)):
        for index, row in enumerate(rows):
            frame = frames[(turn + index) % len(frames)]
            out.append((row, frame.format(**fill(row))))
    return out


def howto_prompts(mat):
    return framed(HOWTO_FRAMES[mat.split], mat.tables["howto"], lambda row: {"v": row[0]})


def helpful_slots(mat, rng):
    """Concrete advice against evasion, or against advice on another topic."""
    slots, rows = [], mat.tables["howto"]
    for index, (row, prompt) in enumerate(howto_prompts(mat)):
        good = row[2:4] + [t for a in row[2:4] for t in mat.voice("direct", n=row[1], a=a)]
        if index % 5 < 2:
            others = rng.sample([other for other in rows if other is not row], 6)
            bad = [text for other in others for text in other[2:4]]
            slots.append(Slot("off-topic", prompt, good, bad))
        else:
            slots.append(Slot("evasive", prompt, good, mat.voice("evasive", n=row[1])))
    return slots


def harmless_slots(mat, rng):
    """Care against harm, and help against needless refusal."""
    slots = []
    split = mat.split
    harmful = framed(HARM_FRAMES[split], mat.tables["harmful"], lambda row: {"v": row[0]})
    comfort = framed(SAY_FRAMES[split], mat.tables["comfort"], lambda row: {"s": row[0]})
    benign = framed(HOWTO_FRAMES[split][:4], mat.tables["benign"], lambda row: {"v": row[0]})
    for kind, pairs in (("bad plan", harmful), ("sorrow", comfort)):
        for row, prompt in pairs:
            good = row[1:3] + [text for a in row[1:3] for text in mat.around("carelead", a)]
            bad = row[3:5] + [text for a in row[3:5] for text in mat.around("harmtail", a, True)]
            slots.append(Slot(kind, prompt, good, bad))
    slots += [Slot("benign", prompt, row[1:3], mat.voice("overrefusal")) for row, prompt in benign]
    return slots


def honest_slots(mat, rng):
    """True and calibrated against false, invented, flattering or evasive."""
    slots = []
    split = mat.split
    for name in ("unknown", "personal"):
        asked = framed(
            ASK_FRAMES[split],
            mat.tables[name],
            lambda row: {"q": row[0], "l": row[0][0].lower() + row[0][1:]},
        )
        for row, prompt in asked:
            bad = row[3:5] + [text for a in row[3:5] for text in mat.around("inventlead", a)]
            slots.append(Slot(name, prompt, row[1:3], bad))
    facts = mat.tables["facts"]
    asked = framed(ASK_FRAMES[split], facts, lambda row: {"q": row[0], "l": row[0][0].lower() + row[0][1:]})
    for index, (row, prompt) in enumerate(asked):
        good = mat.voice("plain", t=row[1])
        if index % 2:
            slots.append(Slot("hedged fact", prompt, good, mat.voice("hedge", t=row[1])))
        else:
            slots.append(Slot("false fact", prompt, good, mat.voice("boast", f=row[2])))
    claimed = framed(CLAIM_FRAMES[split], facts, lambda row: {"c": row[2]})
    for row, prompt in claimed[: len(facts)]:
        good, bad = mat.voice("correct", t=row[1]), mat.voice("agree", f=row[2])
        slots.append(Slot("false claim", prompt, good, bad))
    return slots


def rambles(mat, noun, advice):
    """Padded, circling or repeating replies about a topic."""
    out = mat.voice("ramble", n=noun)
    for text in advice:
        clause = first_clause(text)
        if clause is None:
            continue
        out += mat.voice("repeat", a=text, c=clause, C=upper(clause))
        out += mat.voice("padlead", n=noun, c=upper(clause) + ".")
        out += mat.around("padtail", upper(clause) + ".", True)
        out += mat.around("fulltail", text, True)
    return out


def first_clause(text):
    """The first clause of an instruction without its mark; None if it is no instruction."""
    head = re.split(r"[,.:;]| and | so that | until ", text, maxsplit=1)[0]
    count = len(head.split())
    if head.split()[0] in NOT_AN_ORDER or not 3 <= count <= 8:
        return None
    return head[0].lower() + head[1:]


def concise_slots(mat, rng):
    """To the point against rambling, padding, repeating or saying too little."""
    slots = []
    for index, (row, prompt) in enumerate(howto_prompts(mat)):
        noun, advice = row[1], row[2:4]
        good = advice + [text for a in advice for text in mat.voice("direct", n=noun, a=a)]
        if index % 5 < 2:
            bad = [row[4]] + mat.voice("terse") + mat.voice("tersemore", t=row[4].lower())
            slots.append(Slot("too terse", prompt, good, bad))
        else:
            slots.append(Slot("rambling", prompt, good, rambles(mat, noun, advice)))
    return slots


def polite_slots(mat, rng):
    """A friendly tone against a rude one, around the same advice."""
    slots = []
    said = framed(SAY_FRAMES[mat.split], mat.tables["situations"], lambda row: {"s": row[0]})
    slots += [Slot("situation", prompt, row[1:3], row[3:5]) for row, prompt in said]
    for row, prompt in howto_prompts(mat):
        sides = []
        for tone in ("friendly", "rude"):
            texts = [text for a in row[2:4] for text in mat.around(tone + "lead", a)]
            texts += [text for a in row[2:4] for text in mat.around(tone + "tail", a, True)]
            sides.append(rng.sample(texts, min(14, len(texts))))
        slots.append(Slot("advice", prompt, *sides))
    return slots


BUILDERS = {
    "helpful": helpful_slots,
    "harmless": harmless_slots,
    "honest": honest_slots,
    "concise": concise_slots,
    "polite": polite_slots,
}
# How many rows of a hundred come from each kind of slot.
MIX = {
    "helpful": {"off-topic": 35, "evasive": 65},
    "harmless": {"bad plan": 50, "sorrow": 28, "benign": 22},
    "honest": {"unknown": 28, "personal": 22, "hedged fact": 14, "false fact": 18, "false claim": 18},
    "concise": {"too terse": 30, "rambling": 70},
    "polite": {"situation": 30, "advice": 70},
}


def measures(chosen, rejected):
    """Differences in characters, in words, and in characters beyond five per word."""
    chars = len(chosen) - len(rejected)
    count = len(baselines.words(chosen)) - len(baselines.words(rejected))
    return {"chars": chars, "words": count, "long words": chars - 5.2 * count}


class Dealer:
    """Picks wordings so that words and lengths stay even on both sides."""

    def __init__(self, styles, rng):
        self.styles, self.rng = styles, rng
        self.words = Counter()
        self.used = Counter()
        self.signs = Counter()

    def cost(self, chosen, rejected):
        """How uneven the sides become with this pair; lower is better."""
        left, right = set(baselines.words(chosen)), set(baselines.words(rejected))
        cost = 0.0
        for word in left - right:
            cost += 2 * self.words[word] + 1
        for word in right - left:
            cost += 1 - 2 * self.words[word]
        cost /= 12.0
        for name, diff in measures(chosen, rejected).items():
            sign = (diff > 0) - (diff < 0)
            cost += 0.4 * ((self.signs[name] + sign) ** 2 - self.signs[name] ** 2)
        repeats = sum(self.used[text] for text in (chosen, rejected))
        worn = sum(self.used[self.style(text)] for text in (chosen, rejected))
        return cost + 0.8 * repeats + 0.15 * worn

    def style(self, text):
        """What a reply counts as when wordings wear out: its voice, or itself."""
        return "voice: " + self.styles.get(text, text)

    def pick(self, slot):
        """The most even pair of wordings for a prompt that is short enough."""
        pairs = [
            (chosen, rejected)
            for chosen in slot.good
            for rejected in slot.bad
            if baselines.units(slot.prompt, chosen, rejected) <= MAX_UNITS
        ]
        if not pairs:
            return None
        if len(pairs) > 200:
            pairs = self.rng.sample(pairs, 200)
        chosen, rejected = min(pairs, key=lambda pair: self.cost(*pair))
        self.take(chosen, rejected)
        return {"prompt": slot.prompt, "chosen": chosen, "rejected": rejected}

    def take(self, chosen, rejected, times=1):
        """Count a pair in, or out again with `times = -1`."""
        left, right = set(baselines.words(chosen)), set(baselines.words(rejected))
        for word in left - right:
            self.words[word] += times
        for word in right - left:
            self.words[word] -= times
        for name, diff in measures(chosen, rejected).items():
            self.signs[name] += times * ((diff > 0) - (diff < 0))
        for text in (chosen, rejected):
            self.used[text] += times
            self.used[self.style(text)] += times

    def repick(self, slot, row):
        """Choose a row's wordings anew, all other rows being fixed."""
        self.take(row["chosen"], row["rejected"], -1)
        return self.pick(slot)


def quota(task, count):
    """Rows per kind of slot, summing to `count`."""
    mix = MIX[task]
    want = {kind: count * share // 100 for kind, share in mix.items()}
    for kind in list(mix)[: count - sum(want.values())]:
        want[kind] += 1
    return want


def choose_slots(task, mat, taken, rng):
    """Slots for one task and split: fresh prompts first, kinds interleaved."""
    slots = BUILDERS[task](mat, rng)
    order = sorted(range(len(slots)), key=lambda i: (slots[i].prompt in taken, i))
    want = quota(task, ROWS[mat.split])
    picked, spare = [], []
    for index in order:
        slot = slots[index]
        if want[slot.kind] > 0:
            want[slot.kind] -= 1
            picked.append(slot)
        else:
            spare.append(slot)
    missing = ROWS[mat.split] - len(picked)
    picked += spare[:missing]
    rng.shuffle(picked)
    return picked, spare[missing:]


def build_rows(task, mat, taken, seed):
    """The rows of one task and split."""
    rng = random.Random(f"{task}/{mat.split}/{seed}")
    picked, spare = choose_slots(task, mat, taken, rng)
    dealer, dealt = Dealer(mat.styles, rng), []
    for slot in picked + spare:
        row = dealer.pick(slot) if len(dealt) < ROWS[mat.split] else None
        if row:
            dealt.append((slot, row))
    for _ in range(SWEEPS):
        dealt = [(slot, dealer.repick(slot, row)) for slot, row in dealt]
    taken.update(slot.prompt for slot, _ in dealt)
    return [row for _, row in dealt]


def build():
    """All files: name -> rows."""
    rng = random.Random("topics")
    names = ("howto", "harmful", "benign", "comfort", "facts", "unknown", "personal", "situations")
    tables = {name: deal_topics(read_table(name + ".txt"), rng) for name in names}
    voices = read_voices()
    files = {}
    judge = []
    for split in ("train", "test", "judge"):
        mat = Material(split, tables, voices)
        taken = set()
        for task in TASKS:
            rows = build_rows(task, mat, taken if split == "judge" else set(), 1)
            if split == "judge":
                judge += rows
            else:
                files[f"{task}.{split}.jsonl"] = rows
    rng.shuffle(judge)
    files["judge.train.jsonl"] = judge
    files["prompts.jsonl"] = [
        {"prompt": prompt, "answer": answer} for prompt, answer in read_table("generation.txt")
    ]
    return files


def to_jsonl(rows):
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def main():
    files = build()
    check = "--check" in sys.argv[1:]
    stale = []
    for name, rows in sorted(files.items()):
        path, text = HERE / name, to_jsonl(rows)
        if check:
            if not path.exists() or path.read_text(encoding="utf-8") != text:
                stale.append(name)
        else:
            path.write_text(text, encoding="utf-8")
    problems = baselines.report(files, TASKS)
    problems += [f"{name} is not what make.py writes" for name in stale]
    for problem in problems:
        print("problem:", problem)
    sys.exit(1 if problems else 0)


if __name__ == "__main__":
    main()
