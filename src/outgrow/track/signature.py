"""MLflow's signature of a model, from the columns it was fitted on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from sklearn.base import is_classifier, is_regressor

from outgrow._optional import optional
from outgrow.data.kind import Kind
from outgrow.ml.core.estimator import Estimator
from outgrow.ml.predictor import Predictor
from outgrow.track.scorer import methods_of


def signature_of(model: Estimator) -> Any:
    """What goes into a fitted model and comes out of it, as an `mlflow.models.ModelSignature`.

    Every column is required, and may hold missing values: whether the model takes those is for the model to
    say. Numbers are declared as `Any`, because MLflow would refuse columns of integers for `double`, and
    integers with missing values for `long`; outgrow takes both for what they are. So it is with the elements
    of vectors. Text is `string`, dates and times are `datetime`.

    Parameters
    ----------
    model : a fitted estimator.

    Examples
    --------
    >>> import pyarrow as pa, outgrow as og
    >>> rows = pa.table({"hour": [5, 9, 21], "carrier": ["AA", "UA", "AA"], "delay": [1.0, 5.0, 9.0]})
    >>> model = og.Pipeline([og.OneHotEncoder(columns=["carrier"]), og.Ridge()]).fit(rows, "delay")
    >>> from outgrow.track.signature import signature_of
    >>> signature_of(model).inputs
    ['hour': Any (required), 'carrier': string (required)]
    """
    known = methods_of(model)
    types = optional("mlflow.types", "track")
    method = types.ParamSpec("method", types.DataType.string, known[0])
    return optional("mlflow.models", "track").ModelSignature(
        inputs=_inputs(model.columns_),
        outputs=_outputs(model) if known[0] == "predict" else None,
        params=types.ParamSchema([method]),
    )


def _inputs(columns: Mapping[str, Kind]) -> Any:
    types = optional("mlflow.types", "track")
    return types.Schema([types.ColSpec(_type_of(kind), name) for name, kind in columns.items()])


def _type_of(kind: Kind) -> Any:
    schema, types = optional("mlflow.types.schema", "track"), optional("mlflow.types", "track").DataType
    if kind.form.mlflow == "array":
        return schema.Array(schema.AnyType())
    return schema.AnyType() if kind.form.mlflow == "any" else types[kind.form.mlflow]


def _outputs(model: Any) -> Any:
    """The one unnamed output of `predict`."""
    types = optional("mlflow.types", "track")
    targets, labels = Predictor(model).targets, Predictor(model).labels
    if targets is not None:
        text = labels is not None and isinstance(labels[0], str)
        kind = np.dtype(object) if text else np.array(labels or 0.0).dtype
        return types.Schema([types.TensorSpec(kind, (-1, targets))])
    if is_classifier(model):
        kinds = {"b": types.DataType.boolean, "i": types.DataType.long, "f": types.DataType.double}
        kind = kinds.get(model.classes_.dtype.kind, types.DataType.string)
    else:
        kind = types.DataType.double if is_regressor(model) else types.DataType.long
    return types.Schema([types.ColSpec(kind)])
