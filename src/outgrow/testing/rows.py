"""Rows that suit an estimator, what it says of them, and how that is compared."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
from sklearn.base import is_classifier, is_regressor

from outgrow.data.batch import Batch
from outgrow.data.kind import is_list
from outgrow.ml.base import Transformer
from outgrow.ml.core.estimator import Estimator
from outgrow.ml.predictor import Predictor


def sample_rows(estimator: Estimator, rows: int = 240) -> tuple[pa.Table, str | None]:
    """A table that suits an estimator, and the name of its target column if it has one.

    Parameters
    ----------
    estimator : gets the columns of its class; without any, an encoder text and whole numbers, and others
        three columns of numbers.
    rows : how many; the same on every call.
    """
    rng = np.random.default_rng(7)
    numbers = rng.normal(size=(rows, 3)) * [1.0, 5.0, 0.1] + [0.0, 2.0, -1.0]
    score = numbers @ [1.0, -0.4, 3.0] + rng.normal(scale=0.5, size=rows)
    columns: dict[str, Any] = {"a": numbers[:, 0], "b": numbers[:, 1], "c": numbers[:, 2]}
    given = estimator._test_columns(rng, rows)
    if given is not None:
        columns = dict(given)
    elif estimator.__sklearn_tags__().input_tags.categorical and isinstance(estimator, Transformer):
        words = np.array(["red", "green", "blue", "grey"])
        columns = {
            "a": words[rng.integers(0, 4, rows)],
            "b": words[rng.integers(0, 2, rows)],
            "c": rng.integers(0, 3, rows),
        }
    if is_classifier(estimator):
        columns["y"] = np.where(score > np.median(score), "yes", "no")
    elif is_regressor(estimator):
        positive = estimator.__sklearn_tags__().target_tags.positive_only
        columns["y"] = np.exp(score / 4) if positive else score
    elif (
        estimator.__sklearn_tags__().target_tags.required
    ):  # a transformer, for which y is a class or a number
        columns["y"] = (score > np.median(score)).astype(np.int64)
    return pa.table(columns), "y" if "y" in columns else None


def fitted(estimator: Any, rows: Any, target: str | None) -> Any:
    """The estimator after `fit`; warnings about the data are not the checks' subject.

    Parameters
    ----------
    estimator : is fitted itself.
    rows : dataset or table.
    target : the column to learn; None for estimators without one.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return estimator.fit(rows) if target is None else estimator.fit(rows, target)


def answers(estimator: Any, table: pa.Table) -> dict[str, Any]:
    """All that an estimator says of the rows of a table, by column.

    Parameters
    ----------
    estimator : fitted.
    table : without the target or with it.
    """
    if not hasattr(estimator, "predict"):
        return columns_of(estimator.transform(table))
    predictions = columns_of(estimator.predict(table))
    for method in ("predict_proba", "decision_function", "score_samples"):
        if hasattr(estimator, method):
            predictions |= columns_of(getattr(estimator, method)(table))
    return {name: values for name, values in predictions.items() if name not in table.column_names}


def served_answers(estimator: Any, table: pa.Table) -> dict[str, Any]:
    """What a server says of the rows of a table, by column: predictions, and probabilities if there are any.

    Parameters
    ----------
    estimator : fitted.
    table : without the target or with it.
    """
    predictor, batch = Predictor(estimator), Batch.from_arrow(table.combine_chunks().to_batches()[0])
    scores = predictor.scores(batch, probabilities=predictor.gives("predict_proba"))
    return {name: column.to_pylist() for name, column in scores.items()}


def columns_of(table: pa.Table) -> dict[str, Any]:
    return {name: table.column(name).to_pylist() for name in table.column_names}


def sorted_rows(table: pa.Table) -> dict[str, Any]:
    """The columns, rows in an order that does not depend on the engine."""
    if any(is_list(field.type) for field in table.schema):  # which Arrow does not sort
        table = table.take(
            sorted(range(table.num_rows), key=[repr(row) for row in table.to_pylist()].__getitem__)
        )
        return columns_of(table)
    return columns_of(table.sort_by([(name, "ascending") for name in table.column_names]))


def compare(actual: dict[str, Any], expected: dict[str, Any], rtol: float) -> None:
    """Refuse answers that differ.

    Parameters
    ----------
    actual : values by column; the order of columns counts.
    expected : values by column.
    rtol : of floats, relative and absolute; other values must be equal.

    Raises
    ------
    AssertionError
        When they differ.
    """
    assert list(actual) == list(expected), f"columns {list(actual)} instead of {list(expected)}"
    for name, values in expected.items():
        if values and isinstance(values[0], float):
            np.testing.assert_allclose(actual[name], values, rtol=rtol, atol=rtol, err_msg=name)
        else:
            assert actual[name] == values, name


def raised(kind: type[Exception] | tuple[type[Exception], ...], action: Callable[[], Any]) -> str:
    """The message of the error that an action raises.

    Parameters
    ----------
    kind : of the error, or one that it derives from; or several such kinds.
    action : a function without arguments.

    Raises
    ------
    AssertionError
        When nothing is raised.
    """
    try:
        action()
    except kind as error:
        return str(error)
    raise AssertionError(f"no {kind}")
