"""Rows of every shape: each estimator learns from them what it should, or refuses them in plain words.

What an estimator does not take, it says: missing values and sparse rows by its tags (`allow_nan`, `sparse`),
checks that do not hold for it in `exempt`, with the reason.
"""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import scipy.sparse as sp
from sklearn.base import clone, is_classifier

from outgrow.errors import OutgrowError
from outgrow.ml.base import Transformer
from outgrow.ml.core.estimator import Estimator
from outgrow.ml.step_list import StepList
from outgrow.testing.engines import EngineCase
from outgrow.testing.rows import answers, columns_of, compare, fitted, raised, sample_rows

RTOL = 1e-5
"""Of what two fits find that stop when little changes any more."""


def takes_missing_values_or_refuses_them(estimator: Estimator, engine: EngineCase) -> None:
    """Every seventh value of a column is missing: all rows are answered, or the fit names the column.

    Parameters
    ----------
    estimator : not fitted.
    engine : holds the rows.
    """
    if isinstance(estimator, StepList):
        return  # its steps are asked one by one
    table, target = sample_rows(estimator)
    holes = pa.array(np.arange(table.num_rows) % 7 == 0)
    gone = pc.if_else(holes, pa.scalar(None, table.schema.field("a").type), table["a"])
    rows = engine.open(table.set_column(0, "a", gone))
    try:
        answered = answers(fitted(estimator, rows, target), rows.to_arrow())
    except OutgrowError as error:
        _must_say(error, "a")
        if estimator.__sklearn_tags__().input_tags.allow_nan:
            raise
        return
    assert all(len(values) == table.num_rows for values in answered.values())
    for values in answered.values() if not isinstance(estimator, Transformer) else ():
        assert not any(value != value for value in values), "an answer is NaN"


def sparse_rows_are_dense_ones(estimator: Estimator, engine: EngineCase) -> None:
    """A sparse matrix is learned from as the same numbers in a dense one; or it is refused.

    Parameters
    ----------
    estimator : not fitted.
    engine : without effect: matrices are of this machine.
    """
    if isinstance(estimator, StepList):
        return  # its steps are asked one by one
    table, target = sample_rows(estimator)
    if not all(table.schema.field(name).type == pa.float64() for name in ("a", "b", "c")):
        return
    X = np.stack([table[name].to_numpy() for name in ("a", "b", "c")], axis=1)
    X[np.abs(X) < 0.5] = 0.0
    y = None if target is None else table[target].to_numpy()
    sparse = sp.csr_array(X)
    if not estimator.__sklearn_tags__().input_tags.sparse:
        raised(
            (OutgrowError, TypeError), lambda: clone(estimator).fit(sparse, y)
        )  # the latter scikit-learn's
        return
    ask = "predict" if hasattr(estimator, "predict") else "transform"
    dense, result = (getattr(clone(estimator).fit(rows, y), ask)(rows) for rows in (X, sparse))
    dense, result = _dense(dense), _dense(result)
    if dense.dtype.kind == "f":
        np.testing.assert_allclose(result, dense, rtol=RTOL, atol=RTOL)
    else:
        np.testing.assert_array_equal(result, dense)


def constant_columns_do_no_harm(estimator: Estimator, engine: EngineCase) -> None:
    """A column of one value: all that is said of the rows is finite.

    Parameters
    ----------
    estimator : not fitted.
    engine : holds the rows.
    """
    table, target = sample_rows(estimator)
    value = table["a"][0]
    constant = table.set_column(0, "a", pa.repeat(value, table.num_rows))
    answered = answers(fitted(estimator, engine.open(constant), target), constant)
    for name, values in answered.items():
        if values and isinstance(values[0], float):
            assert np.isfinite(values).all(), name


def one_class_is_learned_or_refused(estimator: Estimator, engine: EngineCase) -> None:
    """A target of one class: a classifier answers it, or says that it needs two.

    Parameters
    ----------
    estimator : not fitted.
    engine : holds the rows.
    """
    if not is_classifier(estimator):
        return
    table, target = sample_rows(estimator)
    only = table.set_column(table.schema.get_field_index("y"), "y", pa.repeat("yes", table.num_rows))
    try:
        answered = answers(fitted(estimator, engine.open(only), target), only)
    except OutgrowError as error:
        _must_say(error, "class")
        return
    assert set(answered["prediction"]) == {"yes"}


def weights_are_repetitions(estimator: Any, engine: EngineCase) -> None:
    """A row of weight two counts as two rows, one of weight zero as none.

    Parameters
    ----------
    estimator : not fitted; checked where its `fit` takes weights.
    engine : holds the rows.
    """
    if "sample_weight" not in inspect.signature(estimator.fit).parameters:
        return
    table, target = sample_rows(estimator)
    weight = np.arange(table.num_rows) % 3
    weighted = engine.open(table.append_column("weight", pa.array(weight.astype(float))))
    repeated = engine.open(table.take(pa.array(np.repeat(np.arange(table.num_rows), weight))))
    given = () if target is None else (target,)
    result = clone(estimator).fit(weighted, *given, sample_weight="weight")
    expected = fitted(clone(estimator), repeated, target)
    compare(answers(result, table), answers(expected, table), RTOL)


def to_weigh_one_is_no_weight(estimator: Any, engine: EngineCase) -> None:
    """Weights that are all one change nothing, neither rows that are drawn nor the order of batches.

    Parameters
    ----------
    estimator : not fitted; checked where its `fit` takes weights.
    engine : holds the rows.
    """
    if "sample_weight" not in inspect.signature(estimator.fit).parameters:
        return
    table, target = sample_rows(estimator)
    weighted = table.append_column("weight", pa.repeat(pa.scalar(1.0), table.num_rows))
    given = () if target is None else (target,)
    result = clone(estimator).fit(engine.open(weighted), *given, sample_weight="weight")
    compare(answers(result, table), answers(engine.fitted(estimator, table, target), table), 1e-9)


def ranks_may_have_no_rows(estimator: Estimator, engine: EngineCase) -> None:
    """All rows are in the last pieces: the parts before them have none.

    Parameters
    ----------
    estimator : not fitted.
    engine : holds the rows.
    """
    table, target = sample_rows(estimator)
    first = table.num_rows * 3 // 5
    numbered = table.append_column("number", pa.array(range(table.num_rows)))
    rows, kept = engine.open(numbered).where(pc.field("number") >= first).drop("number"), table.slice(first)
    expected = answers(engine.one_piece.fitted(estimator, kept, target), kept)
    result = answers(fitted(clone(estimator), rows, target), kept)
    compare(result, expected, getattr(estimator, "_partition_tolerance", 1e-9))


def two_of_a_kind_share_no_names(estimator: Estimator, engine: EngineCase) -> None:
    """Two transformers of a kind, one after the other, over columns of their own: no column is lost.

    Parameters
    ----------
    estimator : not fitted; checked where it is a transformer.
    engine : holds the rows.
    """
    if not isinstance(estimator, Transformer) or not hasattr(estimator, "columns"):
        return
    table, target = sample_rows(estimator)
    first, second = clone(estimator).set_params(columns=["a"]), clone(estimator).set_params(columns=["b"])
    rows = engine.open(table)
    once = fitted(first, rows, target).transform(table)
    try:
        twice = fitted(second, engine.open(once), target).transform(once)
    except OutgrowError as error:
        _must_say(error, "column")
        return
    alone = fitted(clone(second), rows, target).transform(table)
    added = len(alone.column_names) - 2 - (target is not None)  # beside `a`, `c` and y
    assert len(twice.column_names) == len(once.column_names) - 1 + added, twice.column_names
    kept = [name for name in once.column_names if name not in table.column_names]
    compare(
        {name: columns_of(twice)[name] for name in kept}, {name: columns_of(once)[name] for name in kept}, 0
    )


def _dense(values: Any) -> np.ndarray:
    sparse: Any = values if sp.issparse(values) else None
    return np.asarray(values) if sparse is None else np.asarray(sparse.toarray())


def _must_say(error: Exception, word: str) -> None:
    assert word in str(error), error


SHAPE_CHECKS = (
    takes_missing_values_or_refuses_them,
    sparse_rows_are_dense_ones,
    constant_columns_do_no_harm,
    one_class_is_learned_or_refused,
    weights_are_repetitions,
    to_weigh_one_is_no_weight,
    two_of_a_kind_share_no_names,
)
"""What may be done on one engine, as all of them see the rows alike."""
