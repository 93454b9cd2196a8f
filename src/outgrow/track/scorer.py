"""A model behind MLflow's `predict(rows, params)`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pyarrow as pa

from outgrow.data.kind import Kind
from outgrow.engine.dataset import as_table
from outgrow.engine.open import is_spark
from outgrow.errors import ParameterError
from outgrow.ml.core.estimator import Estimator

METHODS = ("predict", "predict_proba", "decision_function", "score_samples", "transform")


class Scorer:
    """What `mlflow.pyfunc.load_model` wraps.

    Parameters
    ----------
    model : a fitted estimator.

    Examples
    --------
    >>> import numpy as np, pandas as pd, outgrow as og
    >>> from outgrow.track.scorer import Scorer
    >>> model = og.DummyClassifier().fit(np.zeros((4, 1)), np.array([0, 1, 1, 1]))
    >>> Scorer(model).predict(pd.DataFrame({"x0": [0.0]}), {"method": "predict_proba"}).tolist()
    [[0.25, 0.75]]
    """

    def __init__(self, model: Estimator) -> None:
        self.model = model

    def get_raw_model(self) -> Estimator:
        """The estimator itself; MLflow's `PyFuncModel.get_raw_model` asks for it."""
        return self.model

    def predict(self, rows: Any, params: Mapping[str, Any] | None = None) -> Any:
        """Answers for rows, as an array; for a Spark DataFrame, its columns and the answers.

        Parameters
        ----------
        rows : a pandas DataFrame, or a Spark DataFrame.
        params : `method`, one of `METHODS` that the model has; by default the first of them.

        Raises
        ------
        ParameterError
            When the model has no such method.
        SchemaError
            When a column is missing or of another kind.
        """
        known = methods_of(self.model)
        method = (params or {}).get("method", known[0])
        if method not in known:
            raise ParameterError(
                f"params={{'method': {method!r}}}: this model has {known}. Choose one of them."
            )
        answer = getattr(self.model, method)
        if is_spark(rows):
            return answer(rows)
        # a stream gets arrays, where a table would get its columns and the answers
        given = answer(as_promised(rows, self.model.columns_).to_reader())
        return given.to_pandas() if isinstance(given, pa.Table) else given


def methods_of(model: Estimator) -> list[str]:
    """The methods of a model that give something for rows."""
    return [name for name in METHODS if hasattr(model, name)]


def as_promised(frame: Any, columns: Mapping[str, Kind]) -> pa.Table:
    """A pandas DataFrame as a table, with types that pandas cannot tell taken from the kinds of the columns.

    A column of missing values alone gets the type of its kind.

    Parameters
    ----------
    frame : a pandas DataFrame, or what else `as_table` takes.
    columns : the model's, name to kind; columns of the frame that are not among them stay as they are.
    """
    table = as_table(frame)
    for index, field in enumerate(table.schema):
        kind = columns.get(field.name)
        wanted = None if kind is None else kind.form.arrow
        column = table.column(index)
        if wanted is not None and len(column) and column.null_count == len(column):
            table = table.set_column(index, field.name, pa.nulls(len(column), wanted))
    return table
