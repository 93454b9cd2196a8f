"""What users hand over and outgrow does not read: refused before any check that would say less."""

from __future__ import annotations

from typing import Any

import numpy as np

from outgrow.data.exact import EXACT
from outgrow.data.misfits import (
    advice_of_any,
    advice_of_rows,
    described,
    is_complex,
    is_of_spark,
    is_one_column,
)
from outgrow.data.pandas_frames import is_frame
from outgrow.engine.dataset import Dataset
from outgrow.engine.open import is_spark
from outgrow.errors import DataError, ValueTypeError


def check_container(estimator: Any, values: Any, what: str = "X") -> None:
    """Refuse what is neither rows nor a column, and say what to give in its place.

    Parameters
    ----------
    estimator : its tags, and `takes_lists`, say whether it takes lists of text or of features for rows.
    values : what a user gave.
    what : 'X', or 'y' for one column.

    Raises
    ------
    DataError
        When it is something else than an array or a table, or of complex numbers.
    ValueTypeError
        When some names of columns of a DataFrame are text and others are not.
    """
    if type(values) is np.ndarray and values.dtype.kind in "biufUM":  # mostly it is, and rows come one by one
        return
    if what != "X":
        check_beside(values, what)
    if is_spark(values):  # whose DataFrames on Connect have a column for any attribute
        return
    listed = what == "X" and _takes_lists(estimator)
    advice = advice_of_any(values, what) or (_of_lists(values) if listed else advice_of_rows(values, what))
    if advice:
        wanted = "table or array of rows" if what == "X" else "column of values"
        raise DataError(f"{what} is {described(values)}, which is no {wanted}. {advice}")
    if what == "X" and is_frame(values) and hasattr(values, "columns"):
        _check_names(values)
    elif is_complex(values):
        raise DataError(
            f"Complex data not supported: {what} is {described(values)}. Give the real and the imaginary "
            f"part, {what}.real and {what}.imag, as columns of their own."
        )


def check_beside(values: Any, what: str) -> None:
    """Refuse rows of a dataset or of Spark as a column beside others: nothing says which belongs to which.

    Parameters
    ----------
    values : what a user gave.
    what : what it is to a model, for the message: the name of the parameter of `fit`.

    Raises
    ------
    DataError
        When it is such.
    """
    if isinstance(values, Dataset) or is_of_spark(values):
        raise DataError(
            f"{what} is {described(values)}, of which nothing says which row of X each value belongs to. "
            f"Give the name of a column of X: {what}='name'."
        )


def _takes_lists(estimator: Any) -> bool:
    return getattr(estimator, "takes_lists", False) or not estimator.__sklearn_tags__().input_tags.two_d_array


def _of_lists(values: Any) -> str:
    """What to give in the place of a column, for what takes lists of text or of features."""
    return "Give X.to_pylist() or X.to_list()." if is_one_column(values) else ""


def _check_names(frame: Any) -> None:
    """Refuse names of columns of which some are text: scikit-learn knows columns by text, or by place."""
    kinds = sorted({type(name).__name__ for name in frame.columns})
    if len(kinds) > 1 and "str" in kinds:
        others = [name for name in frame.columns if not isinstance(name, str)]
        raise ValueTypeError(
            "Feature names are only supported if all input features have string names, but X has names of "
            f"types {kinds}, such as {others[0]!r}. Make all text: X.columns = X.columns.astype(str)."
        )


def of_text(estimator: Any, error: ValueError) -> DataError:
    """Why an array with text cannot be used, and what to give in its place.

    Parameters
    ----------
    estimator : fitted or not, one of numbers.
    error : what NumPy says of the text.
    """
    who = type(estimator).__name__
    if hasattr(estimator, "feature_names_in_"):
        return DataError(
            f"X holds text: {error}. {who} was fitted on a table, and needs one where columns are text: give "
            "pd.DataFrame(X, columns=model.feature_names_in_)."
        )
    return DataError(
        f"X holds text: {error}. {who} takes an array of numbers. Give a table, whose columns of text "
        "og.OneHotEncoder(columns=og.categorical()) or og.OrdinalEncoder make numbers of."
    )


def unmasked(values: Any, what: str) -> Any:
    """A masked array as a plain one, with NaN for what is masked; anything else as it is.

    Parameters
    ----------
    values : what a user gave.
    what : what it is called, for the message.

    Raises
    ------
    DataError
        When its type has no NaN, and float64 would change a value.
    """
    if not isinstance(values, np.ma.MaskedArray):
        return values
    if not np.ma.getmaskarray(values).any():
        return np.asarray(values)
    if values.dtype.kind == "f":
        return np.asarray(values.filled(np.nan))
    if values.dtype.kind in "biu" and not (values.dtype.itemsize == 8 and _is_long(values)):
        return np.where(np.ma.getmaskarray(values), np.nan, values.data)
    raise DataError(
        f"{what} is a masked array of {values.dtype}, for which float64 with NaN does not do. Fill what is "
        f"masked with {what}.filled(value), or give a table, which knows missing values of any type."
    )


def without_na(values: Any) -> np.ndarray | None:
    """An array of objects with NaN where pandas' NA stands, which is no number; None where none does.

    Parameters
    ----------
    values : an array or list of rows that NumPy did not take for numbers.
    """
    objects = np.array(values, dtype=object)
    missing = np.asarray(np.frompyfunc(_is_na, 1, 1)(objects), dtype=bool)  # of one object, a plain bool
    if not missing.any():
        return None
    objects[missing] = np.nan
    return objects


def _is_na(value: Any) -> bool:
    return type(value).__name__ == "NAType"


def _is_long(values: Any) -> bool:
    """Whether a masked array has whole numbers past what float64 keeps apart."""
    known = values.compressed()
    return bool(len(known) and (int(known.max()) > EXACT or int(known.min()) < -EXACT))
