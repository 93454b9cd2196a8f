"""What every estimator must satisfy."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
from sklearn.base import clone
from sklearn.exceptions import NotFittedError

from outgrow.errors import DataError, SchemaError
from outgrow.ml.base import Transformer
from outgrow.ml.core.estimator import Estimator
from outgrow.ml.persistence import load
from outgrow.ml.pipeline import Pipeline
from outgrow.testing.engines import EngineCase, local_case, pieces_case
from outgrow.testing.exports import onnx_answers_alike, sklearn_answers_alike
from outgrow.testing.groups import groups_learn_what_each_would_alone
from outgrow.testing.rows import (
    answers,
    columns_of,
    compare,
    fitted,
    raised,
    sample_rows,
    served_answers,
    sorted_rows,
)
from outgrow.testing.shapes import SHAPE_CHECKS, ranks_may_have_no_rows

Check = Callable[[Estimator, EngineCase], None]

RTOL = 1e-9


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
            if check.__name__ not in estimator.exempt:
                check(clone(estimator), case)


def same_result_as_one_piece(estimator: Estimator, engine: EngineCase) -> None:
    """The model does not depend on the engine or the partitioning.

    Parameters
    ----------
    estimator : not fitted; it may set `_partition_tolerance`, a relative one.
    engine : compared with this machine in one piece.
    """
    table, target = sample_rows(estimator)
    expected = answers(engine.one_piece.fitted(estimator, table, target), table)
    actual = answers(engine.fitted(estimator, table, target), table)
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
    model = engine.fitted(estimator, table, target)
    lazy = (
        model.transform(engine.open(table))
        if isinstance(model, Transformer)
        else model.predict(engine.open(table))
    )
    actual = lazy.to_arrow()
    plain = local_case().open(table)
    expected = (model.transform(plain) if isinstance(model, Transformer) else model.predict(plain)).to_arrow()
    compare(sorted_rows(actual), sorted_rows(expected), getattr(estimator, "_partition_tolerance", RTOL))


def survives_saving(estimator: Estimator, engine: EngineCase) -> None:
    """A loaded estimator answers with the same bits, and as a server asks it.

    Parameters
    ----------
    estimator : not fitted; it may set `_saved_tolerance`, a relative one.
    engine : holds the rows that are learned from.
    """
    table, target = sample_rows(estimator)
    model = engine.fitted(estimator, table, target)
    with tempfile.TemporaryDirectory() as folder:
        model.save(Path(folder) / "model")
        loaded = load(Path(folder) / "model")
    after, tolerance = answers(loaded, table), getattr(estimator, "_saved_tolerance", 0.0)
    compare(after, answers(model, table), tolerance)
    if hasattr(model, "predict"):
        served = served_answers(loaded, table)
        compare(served, {name: after[name] for name in served}, RTOL)
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
    model = engine.fitted(estimator, table, target)
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
    model = engine.fitted(estimator, table, target)
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
    estimator : not fitted; one that learns nothing takes it.
    engine : holds the table without rows.
    """
    if getattr(estimator, "learns_nothing", False):
        return
    table, target = sample_rows(estimator)
    raised(DataError, lambda: fitted(estimator, engine.open(table.slice(0, 0)), target))


def two_of_a_kind_keep_their_outputs(estimator: Estimator, engine: EngineCase) -> None:
    """Two of a transformer in one pipeline, each over a column of its own, give what each gives alone.

    Parameters
    ----------
    estimator : not fitted; only transformers that choose columns are checked.
    engine : holds the rows that are learned from.
    """
    if not isinstance(estimator, Transformer) or "columns" not in estimator.get_params():
        return
    table, target = sample_rows(estimator)
    y = [target] if target else []
    table, steps = (
        table.select(["a", "b", *y]),
        [clone(estimator).set_params(columns=[name]) for name in "ab"],
    )
    pipe, features = Pipeline([clone(step) for step in steps]), table.drop(y)
    both = columns_of(fitted(pipe, engine.open(table), target).transform(features))
    alone = [fitted(step, table, target).transform(features) for step in steps]
    made = [columns_of(rows.drop([other])) for rows, other in zip(alone, "ba", strict=True)]
    assert len(both) == sum(map(len, made)), f"{list(both)} where {list(map(list, made))} were made"
    expected = [values for columns in made for values in columns.values()]
    compare(dict(enumerate(both.values())), dict(enumerate(expected)), RTOL)  # type: ignore[arg-type]


ENGINE_CHECKS: tuple[Check, ...] = (
    same_result_as_one_piece,
    dataset_gives_what_table_gives,
    refuses_no_rows,
    ranks_may_have_no_rows,
)
"""What may differ from one engine to another."""

CHECKS: tuple[Check, ...] = (
    *ENGINE_CHECKS,
    survives_saving,
    leaves_parameters_alone,
    refuses_before_fit,
    refuses_missing_column,
    refuses_other_type,
    onnx_answers_alike,
    sklearn_answers_alike,
    groups_learn_what_each_would_alone,
    two_of_a_kind_keep_their_outputs,
    *SHAPE_CHECKS,
)


def is_applicable(estimator: Estimator) -> bool:
    """Whether the checks know how to use an estimator."""
    return isinstance(estimator, Transformer) or hasattr(estimator, "predict")
