"""A fitted model inside the expressions of Spark DataFrames."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from outgrow.data.batch import Batch
from outgrow.engine.spark.expression import Expression
from outgrow.errors import ParameterError
from outgrow.ml.core.task import promised_example
from outgrow.ml.predictor import Predictor


@dataclass(frozen=True)
class Answers:
    """What a method of a model answers for a batch, as one column: numbers, text, or a list a row."""

    predictor: Predictor
    method: str

    def __call__(self, batch: Batch) -> pa.Array:
        found = self.predictor.answer(batch, self.method)
        if found.ndim == 1:
            (column,) = self.predictor.as_columns(found, self.method).values()
            return column
        ends = np.arange(0, found.size + 1, found.shape[1], dtype=np.int32)
        return pa.ListArray.from_arrays(pa.array(ends), pa.array(np.ravel(found)))


def expression(owner: Any, method: str) -> Expression:
    """A method of a fitted model or pipeline as a function of Spark columns.

    Parameters
    ----------
    owner : what answers; it takes the columns of its fit.
    method : 'predict', or another that its model has, such as 'predict_proba'.

    Raises
    ------
    ParameterError
        When the model has no such method.
    """
    predictor = Predictor(owner)
    if not hasattr(predictor.model, f"_{method}"):
        raise ParameterError(f"A {type(predictor.model).__name__} has no {method}. Use model.udf().")
    answers = Answers(predictor, method)
    example = answers(promised_example(predictor.columns))
    return Expression(answers, predictor.columns, example.type, type(owner).__name__)
