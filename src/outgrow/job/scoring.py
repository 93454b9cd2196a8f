"""Rows with the predictions of a model beside them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from sklearn.base import is_classifier

from outgrow.data.batch import Batch
from outgrow.engine.dataset import Dataset
from outgrow.errors import ParameterError
from outgrow.ml.base import PREDICTION


def with_predictions(
    model: Any, rows: Dataset, *, probabilities: bool = False, keep: Sequence[str] | None = None
) -> Dataset:
    """The rows with a column `prediction`; with a column `probability_<class>` for each class if asked.

    Parameters
    ----------
    keep : the columns of `rows` to keep; all by default.
    """
    if probabilities and not is_classifier(model):
        raise ParameterError(f"A {_name(model)} has no probabilities. Leave out --proba.")
    if not probabilities:
        answered: Dataset = model.predict(rows)
    else:
        answered = model.predict_proba(rows)
        added = tuple(name for name in answered.columns if name not in rows.columns)
        answered = answered.map(_MostProbable(added, tuple(model.classes_.tolist())))
    if keep is None:
        return answered
    added = tuple(name for name in answered.columns if name not in rows.columns)
    return answered.select(rows.select(list(keep)).columns, list(added))


@dataclass(frozen=True)
class _MostProbable:
    """Adds the class of the largest probability."""

    columns: tuple[str, ...]
    classes: tuple[Any, ...]

    def __call__(self, batch: Batch) -> Batch:
        best = np.argmax(batch.matrix(self.columns), axis=1)
        return batch.with_columns({PREDICTION: pa.array(self.classes).take(pa.array(best))})


def _name(model: Any) -> str:
    return type(getattr(model, "model", model)).__name__
