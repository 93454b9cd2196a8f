"""Documents to a sparse matrix of counts: 200,000 of them."""

from __future__ import annotations

import tempfile
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

import outgrow as og
from bench.cases.names import LOCAL, SKLEARN
from bench.contest import Case, Contender, Place, Quality, QualityMeasure, Target

DOCUMENTS, QUICK_DOCUMENTS, WORDS, MEAN_LENGTH = 200_000, 20_000, 100_000, 70


@cache
def _documents(count: int) -> str:
    """The path of texts whose words are as frequent as Zipf says, most of five to nine letters."""
    random = np.random.default_rng(0)
    letters = np.array(list("etaoinshrdlcumwfgypbvk"))
    words = np.array(["".join(random.choice(letters, length)) for length in random.integers(2, 12, WORDS)])
    shares = 1 / np.arange(10, WORDS + 10)
    ends = np.cumsum(random.poisson(MEAN_LENGTH, count))
    chosen = words[random.choice(WORDS, ends[-1], p=shares / shares.sum())]
    texts = [" ".join(part) for part in np.split(chosen, ends[:-1])]
    path = f"{tempfile.mkdtemp(prefix='outgrow-bench-counting-')}/documents.parquet"
    pq.write_table(pa.table({"text": texts}), path)
    return path


def _path(place: Place) -> str:
    return _documents(QUICK_DOCUMENTS if place.quick else DOCUMENTS)


def local(place: Place) -> Any:
    rows = pq.read_table(_path(place))
    return og.CountVectorizer().set_output(transform="default").fit_transform(rows)


def sklearn(place: Place) -> Any:
    from sklearn.feature_extraction.text import CountVectorizer

    return CountVectorizer().fit_transform(pq.read_table(_path(place))["text"].to_pylist())


def judge(path: Path) -> QualityMeasure:
    def scores(counts: Any) -> dict[str, float]:
        weights = np.arange(counts.shape[1]) % 1009
        return {"words": float(counts.sum()), "their columns": float((counts @ weights).sum())}

    return scores


CASE = Case(
    name="counting",
    title=f"Counts of the words of {DOCUMENTS:,} documents",
    table=None,
    contenders=(Contender(LOCAL, local), Contender(SKLEARN, sklearn)),
    judge=judge,
    ready=_path,
    quality=Quality("words", "high", 0.0),
    targets=(Target(LOCAL, SKLEARN, at_least=4),),
    notes=f"Documents of {MEAN_LENGTH} words in the mean, of {WORDS:,} different ones; from Parquet to a CSR "
    "matrix.",
)
