"""Expressions over the rows of predictions: business metrics, which are numbers, and conditions of slices."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds

from outgrow.data.duck import row_statement, select_rows
from outgrow.errors import ParameterError

TAKEN = frozenset(
    (
        *("version", "role", "slice", "start"),
        *("rows", "labelled", "not_counted", "late", "waiting", "never", "early"),
        *("accuracy", "precision", "recall", "f1", "precision_macro", "recall_macro", "f1_macro"),
        *("log_loss", "roc_auc", "pr_auc", "roc_auc_ovr", "r2", "mse", "rmse", "mae"),
        *("error", "label_lag_seconds"),
    )
)
"""Columns of the table of quality."""
ESTIMATED = "estimated_"
"""How columns with estimates begin."""
_VALUE = "value"
"""The name of what a statement makes of each row."""


def statements(
    business: Mapping[str, Any] | None, schema: pa.Schema, label: str, kind: pa.DataType | None
) -> dict[str, Any]:
    """Expressions as they are, SQL as a statement that makes one number of each row.

    Parameters
    ----------
    business : expressions by the name of the metric.
    schema : of the predictions.
    label : the column of labels that is put beside them.
    kind : of the labels; None where there are none.

    Raises
    ------
    ParameterError
        When there are no labels, a name is no text, or an expression cannot be computed or makes no numbers.
    """
    if business is None or len(business) == 0:
        return {}
    if not isinstance(business, Mapping) or not all(isinstance(name, str) and name for name in business):
        raise ParameterError(
            f"business={business!r} is no mapping from names to expressions. Write it like "
            "{'cost': \"5 * (prediction = 'yes')::int\"}."
        )
    if kind is None:
        raise ParameterError(f"The business metric {next(iter(business))!r} needs labels.")
    if label in schema.names:
        raise ParameterError(
            f"Predictions and labels both have a column {label!r}; expressions do not tell them apart. "
            "Rename one."
        )
    _check_names(list(business))
    example = schema.append(pa.field(label, kind)).empty_table()
    return {name: _statement(name, what, example) for name, what in business.items()}


def projected(rows: pa.Table, what: Any) -> pa.ChunkedArray:
    """The values of an expression of Arrow, or of a statement in SQL.

    Parameters
    ----------
    rows : what it is computed of.
    what : the expression, or a statement of `statements`.
    """
    if isinstance(what, pc.Expression):
        return ds.dataset(rows).to_table(columns={_VALUE: what})[_VALUE]
    return select_rows(what, rows)[_VALUE]


def check_condition(name: str, what: pc.Expression, schema: pa.Schema) -> None:
    """Refuse a condition of a slice that cannot be computed of such rows, or that is none.

    Parameters
    ----------
    name : of the slice.
    what : the condition.
    schema : of the predictions.

    Raises
    ------
    ParameterError
        When it is none.
    """
    kind = _kind(f"The slice {name!r}", what, schema.empty_table())
    if not (pa.types.is_boolean(kind) or pa.types.is_null(kind)):
        raise ParameterError(f"The slice {name!r} is {what}, which makes {kind}, no condition. Compare it.")


def _check_names(names: list[str]) -> None:
    """Refuse names that the table of quality has for something else; `cost` makes `cost` and `cost_mean`."""
    made = [made for name in names for made in (name, f"{name}_mean")]
    taken = sorted(
        {name for name in made if name in TAKEN or made.count(name) > 1 or name.startswith(ESTIMATED)}
    )
    if taken:
        raise ParameterError(
            f"business: the table of quality has columns {', '.join(taken)} already. Choose another name."
        )


def _statement(name: str, what: Any, example: pa.Table) -> Any:
    if not isinstance(what, str | pc.Expression):
        raise ParameterError(
            f"The business metric {name!r} is {what!r}. Give an expression in SQL or of og.col."
        )
    made = what if isinstance(what, pc.Expression) else row_statement(_sql(name, what), example)
    kind = _kind(f"The business metric {name!r}", made, example)
    numbers = (
        pa.types.is_integer,
        pa.types.is_floating,
        pa.types.is_decimal,
        pa.types.is_boolean,
        pa.types.is_null,
    )
    if not any(is_kind(kind) for is_kind in numbers):
        raise ParameterError(
            f"The business metric {name!r} is {what}, which makes {kind} of each row, no number. "
            "Compute one, or compare it."
        )
    return made


def _sql(name: str, what: str) -> str:
    if not what.strip():
        raise ParameterError(f"The business metric {name!r} is empty. Give an expression, or leave it out.")
    return f'SELECT ({what}) AS "{_VALUE}" FROM __THIS__'


def _kind(of: str, what: Any, example: pa.Table) -> pa.DataType:
    try:
        return projected(example, what).type
    except (pa.ArrowException, KeyError, TypeError) as error:
        first = str(error).split(" in ", 1)[0].splitlines()[0]  # the rest of it is the whole schema
        raise ParameterError(
            f"{of} is {what}, which cannot be computed: {first}. The columns are "
            f"{', '.join(example.column_names)}."
        ) from None
