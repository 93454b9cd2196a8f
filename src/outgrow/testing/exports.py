"""What an exported estimator must satisfy."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
from sklearn.base import is_regressor

from outgrow.data.matrix import is_sparse
from outgrow.errors import ExportError
from outgrow.ml.base import Transformer
from outgrow.ml.core.estimator import Estimator
from outgrow.ml.export.onnx.file import content
from outgrow.ml.export.onnx.run import feeds, run
from outgrow.testing.engines import EngineCase
from outgrow.testing.rows import raised, sample_rows


def onnx_answers_alike(estimator: Estimator, engine: EngineCase) -> None:
    """onnxruntime answers as the estimator does, or the export is refused with the class's reason.

    Parameters
    ----------
    estimator : not fitted.
    engine : holds the rows that are learned from.
    """
    table, target = sample_rows(estimator)
    model = engine.fitted(estimator, table, target)
    if _is_refused(model, "ONNX", lambda: content(model)):
        return
    answered = run(content(model), feeds(table, model.columns_))
    if isinstance(model, Transformer):
        _close(answered["transformed"], _numbers(model.transform(_features(table, target))), model)
    elif is_regressor(model):
        _close(answered["prediction"], _column(model, table), model)
    else:
        assert answered["prediction"].tolist() == _column(model, table).tolist()
    for name, method in (("probabilities", "predict_proba"), ("decision_function", "decision_function")):
        if name in answered:
            _close(answered[name], getattr(model, method)(table.to_pandas()), model)


def sklearn_answers_alike(estimator: Estimator, engine: EngineCase) -> None:
    """The equal in scikit-learn answers as the estimator does, or is refused with the class's reason.

    Parameters
    ----------
    estimator : not fitted.
    engine : holds the rows that are learned from.
    """
    table, target = sample_rows(estimator)
    model = engine.fitted(estimator, table, target)
    if _is_refused(model, "scikit-learn", model.to_sklearn):
        return
    stored = pickle.dumps(model.to_sklearn())
    assert b"outgrow" not in stored, "the equal needs outgrow"
    equal, frame = pickle.loads(stored), _features(table, target).to_pandas()
    if isinstance(model, Transformer):
        made = equal.transform(frame)
        dense = made.toarray() if is_sparse(made) else np.asarray(made)
        _close(dense, _numbers(model.transform(_features(table, target))), model)
    elif is_regressor(model):
        _close(equal.predict(frame), _column(model, table), model)
    else:
        assert equal.predict(frame).tolist() == _column(model, table).tolist()
    for method in ("predict_proba", "decision_function", "score_samples"):
        if hasattr(model, method) and hasattr(equal, method):
            _close(getattr(equal, method)(frame), getattr(model, method)(frame), model)


def _is_refused(model: Any, form: str, export: Callable[[], Any]) -> bool:
    """Whether there is no such form; a class of this package says why, one of users may have none."""
    steps = [step for _, step in model.active_steps]
    reasons = [step.no_exports[form] for step in steps if form in step.no_exports]
    if reasons:
        assert reasons[0] in raised(ExportError, export)
        return True
    try:
        export()
    except ExportError:
        if all(type(step).__module__.startswith("outgrow.") for step in steps):
            raise
        return True
    return False


def _features(table: pa.Table, target: str | None) -> pa.Table:
    return table.drop([target] if target else [])


def _column(model: Any, table: pa.Table) -> np.ndarray:
    return np.array(model.predict(table)["prediction"].to_pylist())


def _numbers(table: pa.Table) -> np.ndarray:
    """The columns side by side, vectors spelt out."""
    parts = []
    for column in table.columns:
        values = column.combine_chunks()
        if pa.types.is_struct(values.type) or pa.types.is_fixed_size_list(values.type):
            parts.append(np.array(values.to_pylist(), dtype=np.float64))
        else:
            parts.append(values.to_numpy(zero_copy_only=False)[:, None])
    return np.hstack(parts)


def _close(actual: np.ndarray, expected: np.ndarray, model: Any) -> None:
    rtol = max(step._export_tolerance for _, step in model.active_steps)
    size = max(1.0, float(np.nanmax(np.abs(expected))))
    np.testing.assert_allclose(actual, expected, rtol=rtol, atol=rtol * size)
