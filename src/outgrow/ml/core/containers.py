"""What users hand over and outgrow does not read: refused before any check that would say less."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Set
from typing import Any

import numpy as np

from outgrow.data.exact import EXACT
from outgrow.data.frames import is_column
from outgrow.data.matrix import is_sparse
from outgrow.data.pandas_frames import is_frame
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
    if is_spark(values):  # whose DataFrames on Connect have a column for any attribute
        return
    listed = what == "X" and _takes_lists(estimator)
    advice = _of_any(values, what) or (_of_lists(values) if listed else _of_rows(values, what))
    if advice:
        wanted = "table or array of rows" if what == "X" else "column of values"
        raise DataError(f"{what} is {_kind(values)}, which is no {wanted}. {advice}")
    if what == "X" and is_frame(values) and hasattr(values, "columns"):
        _check_names(values)
    elif _is_complex(values):
        raise DataError(
            f"Complex data not supported: {what} is {_kind(values)}. Give the real and the imaginary part, "
            f"{what}.real and {what}.imag, as columns of their own."
        )


def _takes_lists(estimator: Any) -> bool:
    return getattr(estimator, "takes_lists", False) or not estimator.__sklearn_tags__().input_tags.two_d_array


def _of_any(values: Any, what: str) -> str:
    """What to give in the place of what no estimator takes; nothing where that is not known."""
    if values is None and what == "X":
        return "Give an array, a table or a dataset."
    if type(values).__module__.partition(".")[0] == "polars" and type(values).__name__ == "LazyFrame":
        return f"Give {what}.collect()."
    if isinstance(values, os.PathLike):
        return "Give og.read(X)." if what == "X" else "Give an array, or the name of a column of X."
    return ""


def _of_rows(values: Any, what: str) -> str:
    """What to give in the place of what is no rows of numbers or of columns."""
    column = "" if what == "X" else "[name]"
    if isinstance(values, str | bytes):
        return "Where it is a path, give og.read(X)." if what == "X" else "Give an array."
    if isinstance(values, Mapping) and not is_sparse(values):  # one of SciPy's formats is a dict, too
        return f"Give pd.DataFrame({what}){column} or pa.table({what}){column}."
    if isinstance(values, list | tuple) and values and isinstance(values[0], Mapping):
        return f"Give pd.DataFrame({what}){column} or pa.Table.from_pylist({what}){column}."
    if isinstance(values, np.ndarray) and values.dtype.names is not None:
        return f"Give pd.DataFrame({what}){column}, which has a column for each field."
    if isinstance(values, Set | Iterator) and not hasattr(values, "__arrow_c_stream__"):  # of batches
        return f"Give list({what})."
    if what == "X" and _is_one_column(values):
        return 'It is one column: give pa.table({"name": X}).'
    return ""


def _of_lists(values: Any) -> str:
    """What to give in the place of a column, for what takes lists of text or of features."""
    return "Give X.to_pylist() or X.to_list()." if _is_one_column(values) else ""


def _is_one_column(values: Any) -> bool:
    """Whether this is a column of Arrow or Polars; scikit-learn says itself what to do with one of pandas."""
    return is_column(values) and not is_frame(values)


def _kind(values: Any) -> str:
    """What something is, as a message says it."""
    if values is None:
        return "None"
    if isinstance(values, str):
        return f"the text {values[:100]!r}"
    kind = type(values)
    room = kind.__module__.partition(".")[0]
    full = kind.__name__ if room == "builtins" else f"{room} {kind.__name__}"
    fields = getattr(getattr(values, "dtype", None), "names", None)
    of = f" of the fields {list(fields)}" if fields else " of complex numbers" if _is_complex(values) else ""
    return f"a {full}{' of dicts' if isinstance(values, list | tuple) else of}"


def _check_names(frame: Any) -> None:
    """Refuse names of columns of which some are text: scikit-learn knows columns by text, or by place."""
    kinds = sorted({type(name).__name__ for name in frame.columns})
    if len(kinds) > 1 and "str" in kinds:
        others = [name for name in frame.columns if not isinstance(name, str)]
        raise ValueTypeError(
            "Feature names are only supported if all input features have string names, but X has names of "
            f"types {kinds}, such as {others[0]!r}. Make all text: X.columns = X.columns.astype(str)."
        )


def _is_complex(values: Any) -> bool:
    kinds = values.dtypes if is_frame(values) and hasattr(values, "columns") else ()
    return any(getattr(kind, "kind", "") == "c" for kind in (getattr(values, "dtype", None), *kinds))


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


def _is_long(values: Any) -> bool:
    """Whether a masked array has whole numbers past what float64 keeps apart."""
    known = values.compressed()
    return bool(len(known) and (int(known.max()) > EXACT or int(known.min()) < -EXACT))
