"""What every estimator must satisfy."""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from sklearn.base import clone, is_classifier, is_clusterer, is_regressor
from sklearn.exceptions import NotFittedError

from outgrow.errors import DataError, SchemaError
from outgrow.ml.base import Transformer
from outgrow.ml.core.estimator import Estimator
from outgrow.ml.persistence import load
from outgrow.testing.engines import EngineCase, local_case, pieces_case

Check = Callable[[Estimator, EngineCase], None]

RTOL = 1e-9


def sample_rows(estimator: Estimator, rows: int = 240) -> tuple[pa.Table, str | None]:
    """A table that suits an estimator, and the name of its target column if it has one.

    Parameters
    ----------
    estimator : an encoder gets text and whole numbers; others get three columns of numbers.
    rows : how many; the same on every call.
    """
    rng = np.random.default_rng(7)
    numbers = rng.normal(size=(rows, 3)) * [1.0, 5.0, 0.1] + [0.0, 2.0, -1.0]
    score = numbers @ [1.0, -0.4, 3.0] + rng.normal(scale=0.5, size=rows)
    columns: dict[str, Any] = {"a": numbers[:, 0], "b": numbers[:, 1], "c": numbers[:, 2]}
    if estimator.__sklearn_tags__().input_tags.categorical and isinstance(estimator, Transformer):
        words = np.array(["red", "green", "blue", "grey"])
        columns = {
            "a": words[rng.integers(0, 4, rows)],
            "b": words[rng.integers(0, 2, rows)],
            "c": rng.integers(0, 3, rows),
        }
    if is_classifier(estimator):
        columns["y"] = np.where(score > np.median(score), "yes", "no")
    elif is_regressor(estimator):
        columns["y"] = score
    return pa.table(columns), "y" if "y" in columns else None


def check_estimator(estimator: Estimator, engine: EngineCase | None = None) -> None:
    """Run an estimator through all checks.

    Parameters
    ----------
    estimator : not fitted; each check gets a clone.
    engine : where; None for this machine, in one piece and in several.

    Raises
    ------
    AssertionError
        When a check fails.
    """
    for case in [engine] if engine else [local_case(), pieces_case(3)]:
        for check in CHECKS:
            check(clone(estimator), case)


def same_result_as_one_piece(estimator: Estimator, engine: EngineCase) -> None:
    """The model does not depend on the engine or the partitioning.

    Parameters
    ----------
    estimator : not fitted; it may set `_partition_tolerance`, a relative one.
    engine : compared with this machine in one piece.
    """
    table, target = sample_rows(estimator)
    expected = answers(fitted(estimator, local_case().open(table), target), table)
    actual = answers(fitted(clone(estimator), engine.open(table), target), table)
    rtol = getattr(estimator, "_partition_tolerance", RTOL)
    compare(actual, expected, rtol)


def dataset_gives_what_table_gives(estimator: Estimator, engine: EngineCase) -> None:
    """Lazy results on an engine hold the values that arrays hold.

    Parameters
    ----------
    estimator : not fitted.
    engine : holds the rows that are learned from, and asked about lazily.
    """
    table, target = sample_rows(estimator)
    model = fitted(estimator, engine.open(table), target)
    lazy = (
        model.transform(engine.open(table))
        if isinstance(model, Transformer)
        else model.predict(engine.open(table))
    )
    actual = lazy.to_arrow()
    plain = local_case().open(table)
    expected = (model.transform(plain) if isinstance(model, Transformer) else model.predict(plain)).to_arrow()
    compare(sorted_rows(actual), sorted_rows(expected), RTOL)


def survives_saving(estimator: Estimator, engine: EngineCase) -> None:
    """A loaded estimator answers with the same bits.

    Parameters
    ----------
    estimator : not fitted.
    engine : holds the rows that are learned from.
    """
    table, target = sample_rows(estimator)
    model = fitted(estimator, engine.open(table), target)
    with tempfile.TemporaryDirectory() as folder:
        model.save(Path(folder) / "model")
        loaded = load(Path(folder) / "model")
    compare(answers(loaded, table), answers(model, table), 0.0)
    assert repr(loaded) == repr(model)


def leaves_parameters_alone(estimator: Estimator, engine: EngineCase) -> None:
    """Fitting changes no parameter.

    Parameters
    ----------
    estimator : not fitted.
    engine : holds the rows that are learned from.
    """
    before = repr(estimator.get_params())
    table, target = sample_rows(estimator)
    fitted(estimator, engine.open(table), target)
    assert repr(estimator.get_params()) == before


def refuses_before_fit(estimator: Estimator, engine: EngineCase) -> None:
    """An estimator that was not fitted says so.

    Parameters
    ----------
    estimator : not fitted.
    engine : without effect: nothing is learned.
    """
    table, _ = sample_rows(estimator)
    try:
        answers(estimator, table)
    except NotFittedError:
        return
    raise AssertionError("no NotFittedError")


def refuses_missing_column(estimator: Estimator, engine: EngineCase) -> None:
    """A column that was there at fit and is not now is named.

    Parameters
    ----------
    estimator : not fitted.
    engine : holds the rows that are learned from.
    """
    table, target = sample_rows(estimator)
    model = fitted(estimator, engine.open(table), target)
    error = raised(SchemaError, lambda: answers(model, table.drop(["b"])))
    assert "- b: " in error, error


def refuses_other_type(estimator: Estimator, engine: EngineCase) -> None:
    """A column of another kind is named with both kinds.

    Parameters
    ----------
    estimator : not fitted.
    engine : holds the rows that are learned from.
    """
    table, target = sample_rows(estimator)
    model = fitted(estimator, engine.open(table), target)
    index = table.schema.get_field_index("a")
    other = (
        pa.array(["x"] * table.num_rows)
        if pa.types.is_floating(table.schema.field("a").type)
        else pa.array([1.0] * table.num_rows)
    )
    error = raised(SchemaError, lambda: answers(model, table.set_column(index, "a", other)))
    assert "~ a: " in error, error


def refuses_no_rows(estimator: Estimator, engine: EngineCase) -> None:
    """There is nothing to learn from no rows.

    Parameters
    ----------
    estimator : not fitted.
    engine : holds the table without rows.
    """
    table, target = sample_rows(estimator)
    raised(DataError, lambda: fitted(estimator, engine.open(table.slice(0, 0)), target))


ENGINE_CHECKS: tuple[Check, ...] = (
    same_result_as_one_piece,
    dataset_gives_what_table_gives,
    refuses_no_rows,
)
"""What may differ from one engine to another."""

CHECKS: tuple[Check, ...] = (
    *ENGINE_CHECKS,
    survives_saving,
    leaves_parameters_alone,
    refuses_before_fit,
    refuses_missing_column,
    refuses_other_type,
)


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
    if isinstance(estimator, Transformer):
        return columns_of(estimator.transform(table))
    predictions = columns_of(estimator.predict(table))
    if is_classifier(estimator):
        predictions |= columns_of(estimator.predict_proba(table))
    return {
        name: values for name, values in predictions.items() if name.startswith(("prediction", "probability"))
    }


def columns_of(table: pa.Table) -> dict[str, Any]:
    return {name: table.column(name).to_pylist() for name in table.column_names}


def sorted_rows(table: pa.Table) -> dict[str, Any]:
    """The columns, rows in an order that does not depend on the engine."""
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


def raised(kind: type[Exception], action: Callable[[], Any]) -> str:
    """The message of the error that an action raises.

    Parameters
    ----------
    kind : of the error, or one that it derives from.
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
    raise AssertionError(f"no {kind.__name__}")


def is_applicable(estimator: Estimator) -> bool:
    """Whether the checks know how to use an estimator."""
    kinds = (is_classifier, is_regressor, is_clusterer)
    return isinstance(estimator, Transformer) or any(kind(estimator) for kind in kinds)
