"""One file a case."""

from __future__ import annotations

from bench.cases import (
    boosting,
    counting,
    flights,
    fused,
    imputer,
    kmeans,
    linear,
    logistic,
    onehot,
    pca,
    scaler,
    scoring,
    text,
)
from bench.contest import Case

CASES: dict[str, Case] = {
    module.CASE.name: module.CASE
    for module in (
        logistic,
        kmeans,
        linear,
        pca,
        scaler,
        imputer,
        onehot,
        boosting,
        scoring,
        flights,
        fused,
        text,
        counting,
    )
}
