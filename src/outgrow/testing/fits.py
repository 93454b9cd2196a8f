"""Fits that several checks of an estimator ask for, each of them made once."""

from __future__ import annotations

import hashlib
import pickle
from collections.abc import Callable
from typing import Any

import pyarrow as pa

from outgrow.ml.core.estimator import Estimator


class Fits:
    """Fitted estimators, by what they learned from; checks that share one leave it as it is.

    Parameters
    ----------
    most : how many are kept; the oldest go first. None for all.
    """

    def __init__(self, most: int | None = 16) -> None:
        self._most = most
        self._models: dict[Any, Any] = {}

    def model(self, key: Any, make: Callable[[], Any]) -> Any:
        """The fitted estimator of a key.

        Parameters
        ----------
        key : of a fit, as `fit_key` gives it; None for one that nobody shares.
        make : fits it; an error that it raises is not kept.
        """
        if key is None:
            return make()
        if key not in self._models:
            self._models[key] = make()
            if self._most is not None and len(self._models) > self._most:
                del self._models[next(iter(self._models))]
        return self._models[key]


def fit_key(engine: str, estimator: Estimator, table: pa.Table, target: str | None) -> tuple[Any, ...] | None:
    """What tells one fit from another; None where the parameters have no bytes to compare.

    Parameters
    ----------
    engine : its name.
    estimator : not fitted.
    table : the rows.
    target : the column to learn, if any.
    """
    try:
        parameters = pickle.dumps(estimator.get_params(deep=False))
    except Exception:  # whatever a parameter of somebody's own class raises
        return None
    return engine, type(estimator), parameters, table_digest(table), target


def table_digest(table: pa.Table) -> bytes:
    """Equal for tables of equal values, types and chunks.

    Parameters
    ----------
    table : of any types.
    """
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as stream:
        stream.write_table(table)
    return hashlib.sha256(sink.getvalue()).digest()
