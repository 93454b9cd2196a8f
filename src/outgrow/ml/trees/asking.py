"""Asking the trees of a booster."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import numpy as np

from outgrow._optional import optional
from outgrow._process import default_threads
from outgrow.errors import ArtifactError, DataError, EngineError
from outgrow.ml.trees.plan import TOO_LARGE
from outgrow.ml.trees.threads import openmp_threads, without_lost_threads

PREDICT_ROWS = 8192
"""Rows that one thread answers at a time; a smaller batch is not worth a second thread."""


@contextmanager
def explained() -> Iterator[None]:
    """What XGBoost raises inside is told in our words."""
    try:
        yield
    except optional("xgboost", "trees").core.XGBoostError as error:
        raise _explained(error) from error


def _explained(error: Exception) -> DataError | EngineError:
    text = str(error)
    if "Input data contains `inf`" in text:
        return DataError(TOO_LARGE)
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    said = next((line for line in lines if "Check failed" in line), lines[0] if lines else "no reason given")
    return EngineError(f"XGBoost failed: {said}")


def restored(content: bytes) -> Any:
    """The booster that was stored; one thread a call, as calls from many threads are safe and cost less.

    Raises
    ------
    ArtifactError
        When XGBoost cannot read it.
    """
    xgb = optional("xgboost", "trees")
    try:
        with without_lost_threads():
            return xgb.Booster({"nthread": 1, "verbosity": 0}, model_file=bytearray(content))
    except xgb.core.XGBoostError as error:
        said = str(error).splitlines()[0][:200]
        raise ArtifactError(
            f"The trees of the model are damaged: XGBoost cannot read them ({said}). Restore it from a copy."
        ) from error


def answers(booster: Any, rows: Any, rounds: int = 0, *, first: int = 0, sums: bool = False) -> np.ndarray:
    """What trees say of each row, as float64 of shape (rows,) or (rows, outputs).

    Large batches are answered on all threads, small ones on that of the caller.

    Parameters
    ----------
    booster : XGBoost's.
    rows : as `rows.as_asked` gives them.
    rounds : the first round that is not asked; 0 to ask all.
    first : the first round that is asked.
    sums : give what the trees add up to, before the link of the loss.
    """
    if not rows.shape[0]:  # of no rows XGBoost would not say how many outputs there are
        unknown = np.full((1, rows.shape[1]), np.nan)
        return answers(booster, unknown, rounds, first=first, sums=sums)[:0]
    kind = "margin" if sums else "value"

    def answer(start: int) -> np.ndarray:
        part = rows[start : start + PREDICT_ROWS]
        with explained():
            return booster.inplace_predict(
                part, iteration_range=(first, rounds), predict_type=kind, validate_features=False
            )

    starts = range(0, max(1, rows.shape[0]), PREDICT_ROWS)
    threads = min(len(starts), default_threads())
    if threads == 1:
        return np.concatenate(list(map(answer, starts))).astype(np.float64)
    with ThreadPoolExecutor(threads) as pool:
        return np.concatenate(list(pool.map(answer, starts))).astype(np.float64)


def leaves(booster: Any, rows: Any) -> np.ndarray:
    """The leaf of each tree in which each row ends, as int32 of shape (rows, rounds, outputs).

    Parameters
    ----------
    booster : XGBoost's.
    rows : as `rows.as_asked` gives them.
    """
    with explained():
        matrix = optional("xgboost", "trees").DMatrix(rows, nthread=1)
        found: np.ndarray = booster.predict(
            matrix, pred_leaf=True, strict_shape=True, validate_features=False
        )
    return found.reshape(*found.shape[:3]).astype(np.int32)


def contributions(content: bytes, rows: Any) -> np.ndarray:
    """What each feature adds to the sums of trees, by the ways through them, and behind that their mean.

    Parameters
    ----------
    content : the booster in XGBoost's UBJSON format.
    rows : as `rows.as_asked` gives them.

    Returns
    -------
    Of shape (rows, outputs, features + 1), float64.
    """
    booster = restored(content)
    threads = openmp_threads(default_threads())
    booster.set_param({"nthread": threads})
    none = rows.shape[0] == 0  # of no rows XGBoost would not say how many outputs there are
    asked = np.full((1, rows.shape[1]), np.nan) if none else rows
    with explained():
        matrix = optional("xgboost", "trees").DMatrix(asked, nthread=threads)
        found: np.ndarray = booster.predict(
            matrix, pred_contribs=True, strict_shape=True, validate_features=False
        )
    return found[: rows.shape[0]].astype(np.float64)


def total_gains(booster: Any, width: int) -> np.ndarray:
    """What all splits on each feature gained.

    Parameters
    ----------
    booster : XGBoost's.
    width : how many features there are.
    """
    gains = np.zeros(width)
    for name, gain in booster.get_score(importance_type="total_gain").items():
        gains[int(name[1:])] = gain
    return gains
