"""Makes raw/: small preference sets as Parquet, written by pyarrow (pip install pyarrow==21.0.0).

For each set, raw/NAME.parquet (in one compression after the other, with small row groups and pages)
and raw/NAME.jsonl, the same rows as JSON Lines; tests read both and compare.
"""

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

OUT = Path(__file__).parent / "raw"


def webgpt():
    for i in range(7):
        yield {
            "question": {"dataset": "made", "id": str(i), "full_text": f"Why is {i} small?"},
            "quotes_0": {"title": [f"On {i}"] * (i % 3), "extract": ["It is."] * (i % 3)},
            "answer_0": f"Because {i} is below ten. [1]",
            "score_0": [0.0, -1.0, 0.5][i % 3],
            "quotes_1": {"title": [], "extract": []},
            "answer_1": f"It \u2013 {i} \u2013 is not.",
            "score_1": [0.0, 1.0, -0.5][i % 3],
        }


def ultrafeedback():
    for i in range(6):
        yield {
            "source": "made",
            "instruction": f"Count to {i}.",
            "models": ["a", "b", "c"],
            "completions": [
                {
                    "model": name,
                    "response": " ".join(map(str, range(1, i + 1 + at))) or "Nothing to count.",
                    "overall_score": None if (i, at) == (3, 1) else 8.0 - at,
                    "fine-grained_score": 4.5 - at / 4,
                    "annotations": {"helpfulness": {"Rating": str(5 - at), "Type": ["1", "3"]}},
                }
                for at, name in enumerate("abc")
            ],
        }


def oasst():
    def message(tree, name, parent, role, text, rank=None, **more):
        row = {
            "message_id": f"{tree}-{name}",
            "parent_id": parent and f"{tree}-{parent}",
            "text": text,
            "role": role,
            "lang": "en",
            "review_count": 3,
            "review_result": True,
            "deleted": False,
            "rank": rank,
            "message_tree_id": tree,
            "labels": {"name": ["spam", "quality"], "value": [0.0, 0.75]},
        }
        return row | more

    yield message("t1", "root", None, "prompter", "Name a colour.")
    yield message("t1", "a", "root", "assistant", "Red.", 1)
    yield message("t1", "q", "a", "prompter", "Another?")
    yield message("t1", "q1", "q", "assistant", "Blue.", 0)
    yield message("t1", "q2", "q", "assistant", "Loud.", 1)
    yield message("t1", "b", "root", "assistant", "Red, for example.", 0)
    yield message("t1", "c", "root", "assistant", "Go away.", 2)
    yield message("t2", "root", None, "prompter", "Eine Farbe?", lang="de")
    yield message("t2", "a", "root", "assistant", "Rot.", 0, lang="de")
    yield message("t2", "b", "root", "assistant", "Nein.", 1, lang="de")


def trl():
    for i in range(5):
        prompt = [{"role": "user", "content": f"Say {i}."}]
        yield {
            "chosen": prompt + [{"role": "assistant", "content": str(i)}],
            "rejected": prompt + [{"role": "assistant", "content": "No."}],
        }


SETS = {"webgpt": (webgpt, "snappy"), "ultrafeedback": (ultrafeedback, "zstd"),
        "oasst": (oasst, "gzip"), "trl": (trl, "lz4")}

OUT.mkdir(exist_ok=True)
for name, (rows, compression) in SETS.items():
    rows = list(rows())
    pq.write_table(pa.Table.from_pylist(rows), OUT / f"{name}.parquet", compression=compression,
                   row_group_size=4, data_page_size=64)
    lines = [json.dumps(row, ensure_ascii=False) + "\n" for row in rows]
    (OUT / f"{name}.jsonl").write_text("".join(lines), encoding="utf-8")
