"""Texts as columns, by their hashes."""

from __future__ import annotations

from typing import Any

import numpy as np

from outgrow.ml.core.parameters import FLAG, Integer, OneOf
from outgrow.stats.murmur import murmur3
from outgrow.stats.texts import Texts

SPARK = "spark"
HASHING = {
    "n_features": Integer(low=1, below=2**31),
    "alternate_sign": FLAG,
    "hash": OneOf("sklearn", SPARK),
}
_SPARK_SEED = 42


def hashed(step: Any, texts: Texts) -> tuple[np.ndarray, np.ndarray | None]:
    """The column of each text, and the sign of what is added there; None where all are added.

    Parameters
    ----------
    step : its parameters are those of `HASHING`.
    texts : names of features.

    Returns
    -------
    int64 of shape (texts,), and 1 or -1 in the same shape.
    """
    if step.hash == SPARK:
        return murmur3(texts, _SPARK_SEED).astype(np.int64) % step.n_features, None
    hashes = murmur3(texts, 0).astype(np.int64)
    return np.abs(hashes) % step.n_features, np.where(hashes < 0, -1, 1) if step.alternate_sign else None
