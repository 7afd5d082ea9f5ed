"""Shallow baselines and structural checks for the quickstart data.

Data that a word count can solve teaches a reward model nothing. Two logistic
regressions on the difference (chosen minus rejected) must therefore stay under
65 % on every test set: one sees lengths only, one sees twenty words.
"""

import math
import re
from collections import Counter
from functools import cache

LIMIT = 0.65
FEATURES = 20
WORD = re.compile(r"[a-z0-9']+")


@cache
def words(text):
    """Lower-case words of a text."""
    return tuple(WORD.findall(text.lower()))


def units(*texts):
    """A rough upper estimate of GPT-2-like tokens: words, long words twice, digits, marks."""
    return sum(map(units_of, texts))


@cache
def units_of(text):
    """The same estimate for one text."""
    tokens = re.findall(r"\d|[^\W\d]+|[^\w\s]", text)
    return len(tokens) + sum(len(token) > 7 for token in tokens)


def fit(rows, steps=400, rate=0.5, decay=1e-3):
    """Logistic regression without bias on differences; every row is a win."""
    size = len(rows[0])
    scale = [math.sqrt(sum(r[j] ** 2 for r in rows) / len(rows)) or 1.0 for j in range(size)]
    rows = [[r[j] / scale[j] for j in range(size)] for r in rows]
    weights = [0.0] * size
    for _ in range(steps):
        grad = [decay * w for w in weights]
        for row in rows:
            margin = sum(w * x for w, x in zip(weights, row))
            pull = 1.0 / (1.0 + math.exp(max(-30.0, min(30.0, margin)))) / len(rows)
            for j in range(size):
                grad[j] -= pull * row[j]
        weights = [w - rate * g for w, g in zip(weights, grad)]
    return [w / s for w, s in zip(weights, scale)]


def accuracy(weights, rows):
    """Share of pairs ranked right; ties count half."""
    score = 0.0
    for row in rows:
        margin = sum(w * x for w, x in zip(weights, row))
        score += 1.0 if margin > 0 else 0.5 if margin == 0 else 0.0
    return score / len(rows)


def length_row(row):
    """Differences in characters and in words."""
    a, b = row["chosen"], row["rejected"]
    return [len(a) - len(b), len(words(a)) - len(words(b))]


def best_words(rows):
    """The words whose document frequency differs most between the sides."""
    diff = Counter()
    for row in rows:
        for word in set(words(row["chosen"])):
            diff[word] += 1
        for word in set(words(row["rejected"])):
            diff[word] -= 1
    return sorted(diff, key=lambda word: (-abs(diff[word]), word))[:FEATURES]


def word_row(row, vocabulary):
    """Differences in the presence of the given words."""
    a, b = set(words(row["chosen"])), set(words(row["rejected"]))
    return [(word in a) - (word in b) for word in vocabulary]


def evaluate(train, test):
    """Test accuracy of the length-only and of the twenty-word baseline."""
    length = fit([length_row(r) for r in train])
    by_length = accuracy(length, [length_row(r) for r in test])
    vocabulary = best_words(train)
    weights = fit([word_row(r, vocabulary) for r in train])
    by_words = accuracy(weights, [word_row(r, vocabulary) for r in test])
    return by_length, by_words, vocabulary


def one_edit_apart(left, right):
    """Whether two word lists are equal but for at most one word."""
    if abs(len(left) - len(right)) > 1:
        return False
    if len(left) == len(right):
        return sum(a != b for a, b in zip(left, right)) <= 1
    short, long = sorted((left, right), key=len)
    return any(short == long[:i] + long[i + 1 :] for i in range(len(long)))


def near_duplicates(groups):
    """Pairs of prompts from different groups that differ in at most one word."""
    names, found = sorted(groups), []
    for i, name in enumerate(names):
        for other in names[i + 1 :]:
            right = [(text, words(text)) for text in sorted(groups[other])]
            for text in sorted(groups[name]):
                mine = words(text)
                found += [(text, theirs) for theirs, split in right if one_edit_apart(mine, split)]
    return found


def structure(files):
    """Problems with duplicates, lengths and disjointness, in words."""
    problems, groups = [], {}
    for name, rows in sorted(files.items()):
        group = name.split(".")[1] if not name.startswith(("judge", "prompts")) else name.split(".")[0]
        groups.setdefault(group, set()).update(row["prompt"] for row in rows)
        distinct = len({row["prompt"] for row in rows})
        if distinct < 0.8 * len(rows):
            problems.append(f"{name}: only {distinct} distinct prompts in {len(rows)} rows")
        if name == "prompts.jsonl":
            continue
        if len({(row["prompt"], row["chosen"]) for row in rows}) < len(rows):
            problems.append(f"{name}: duplicated rows")
        for row in rows:
            if units(row["prompt"], row["chosen"], row["rejected"]) > 60:
                problems.append(f"{name}: too long: {row['prompt']}")
    for left, right in near_duplicates(groups):
        problems.append(f"nearly the same prompt in two splits: {left!r} and {right!r}")
    return problems


def report(files, tasks):
    """Print the tables; return what breaks a promise."""
    problems = structure(files)
    print("| task | train | test | distinct prompts | length only | 20 words |")
    print("|---|---|---|---|---|---|")
    for task in tasks:
        train, test = files[f"{task}.train.jsonl"], files[f"{task}.test.jsonl"]
        by_length, by_words, vocabulary = evaluate(train, test)
        distinct = f"{len({r['prompt'] for r in train})} + {len({r['prompt'] for r in test})}"
        print(f"| {task} | {len(train)} | {len(test)} | {distinct} | {by_length:.3f} | {by_words:.3f} |")
        for label, value in (("length", by_length), ("words", by_words)):
            if value >= LIMIT:
                problems.append(f"{task}: the {label} baseline reaches {value:.3f}; words: {vocabulary}")
    return problems
