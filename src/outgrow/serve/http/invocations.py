"""MLflow's protocol: the bodies that `mlflow models serve` takes at /invocations, and its answers.

See "Accepted Input Formats" in MLflow's documentation of its local inference server.
"""

from __future__ import annotations

import csv
import io
from collections import Counter
from typing import TYPE_CHECKING, Any

from outgrow.data.encoding import marked
from outgrow.data.infer import read_text
from outgrow.data.text import Csv, TextOptions
from outgrow.errors import OutgrowError
from outgrow.serve.http.rows import Query, Row, RowReader, RowsError, decoded, msgspec, table_batch

if TYPE_CHECKING:
    from outgrow.serve.http.scoring import Answers

MAX_OTHER_COLUMNS = 1_000
"""Columns of a table that the model does not use."""
_COMMAS = TextOptions(sep=",")
FORMS = ("dataframe_split", "dataframe_records", "instances", "inputs")


def read(reader: RowReader, body: bytes) -> Query:
    """The rows of a body, and whether probabilities are wanted (`params: {"method": "predict_proba"}`).

    Parameters
    ----------
    reader : of the version that will answer.
    body : JSON in one of `FORMS`.

    Raises
    ------
    RowsError
        When the body is not what it should be.
    """
    given = decoded(body)
    forms = [form for form in FORMS if isinstance(given, dict) and form in given]
    if len(forms) != 1:
        raise RowsError(f"The body must be an object with exactly one of {', '.join(FORMS)}.")
    rows = _READERS[forms[0]](reader, given[forms[0]])
    return Query(rows, _wants_probabilities(given.get("params")))


def answer(answers: Answers, probabilities: bool) -> bytes:
    """The body of the answer.

    Parameters
    ----------
    answers : to the rows of the request.
    probabilities : whether those of the classes are given, in place of the predictions.

    Raises
    ------
    RowsError
        When probabilities are wanted of a model that has none.
    """
    if probabilities and answers.probabilities is None:
        kind = type(answers.served.version.predictor.model).__name__
        raise RowsError(f"A {kind} has no probabilities.")
    values = answers.probabilities if probabilities else answers.predictions
    encoded: bytes = msgspec.json.encode({"predictions": values})
    return encoded


def _wants_probabilities(params: Any) -> bool:
    if params is None:
        return False
    if not isinstance(params, dict) or params.get("method", "predict") not in ("predict", "predict_proba"):
        raise RowsError('params may hold {"method": "predict"} or {"method": "predict_proba"}.')
    return params.get("method") == "predict_proba"


def _read_split(reader: RowReader, given: Any) -> list[Row]:
    rows = given.get("data") if isinstance(given, dict) else None
    names = given.get("columns") if isinstance(given, dict) else None
    if rows is None or not _is_rows(rows) or not (names is None or _is_names(names)):
        raise RowsError(
            'dataframe_split must be an object with "columns", a list of names, and "data", '
            "a list of rows, each a list of values."
        )
    if names is not None and (twice := [n for n, count in Counter[str](names).items() if count > 1]):
        raise RowsError(f"dataframe_split names columns more than once: {twice[:20]}.")
    if names is not None and any(len(row) != len(names) for row in rows):
        raise RowsError(f"dataframe_split has rows of other lengths than its {len(names)} columns.")
    return reader.from_arrays(rows, names)


def _read_records(reader: RowReader, given: Any) -> list[Row]:
    if not isinstance(given, list):
        raise RowsError("The rows must be a list of objects of column names and values.")
    return reader.checked(given)


def _read_instances(reader: RowReader, given: Any) -> list[Row]:
    return reader.from_arrays(given) if _is_rows(given) and given else _read_records(reader, given)


def _read_inputs(reader: RowReader, given: Any) -> list[Row]:
    """Rows as lists, as objects, or an object of columns."""
    if not isinstance(given, dict):
        return _read_instances(reader, given)
    columns = {name: values if isinstance(values, list) else [values] for name, values in given.items()}
    lengths = {len(values) for values in columns.values()}
    if len(lengths) > 1:
        raise RowsError(f"The columns of inputs have several lengths: {sorted(lengths)}.")
    flat = {name: [_scalar(value) for value in values] for name, values in columns.items()}
    return reader.from_arrays(list(zip(*flat.values(), strict=True)), list(flat))


def _scalar(value: Any) -> Any:
    return value[0] if isinstance(value, list) and len(value) == 1 else value


def _is_rows(given: Any) -> bool:
    return isinstance(given, list) and all(isinstance(row, list | tuple) for row in given)


def _is_names(given: Any) -> bool:
    return isinstance(given, list) and all(isinstance(name, str) for name in given)


def read_csv(reader: RowReader, body: bytes, charset: str = "utf-8") -> Query:
    """The rows of a body that is CSV with a line of names; other columns than the model's are left out.

    Parameters
    ----------
    reader : of the version that will answer.
    body : the text, as it came.
    charset : its encoding, as Python names it.

    Raises
    ------
    RowsError
        When the body is not what it should be.
    """
    charset = marked(body) or charset
    try:
        text = body.decode(charset)
    except UnicodeDecodeError as error:
        raise RowsError(
            f"The body is not CSV in {charset}, as byte {error.start} shows. Name its charset, as in "
            "'Content-Type: text/csv; charset=cp1252'."
        ) from None
    body = text.encode() if charset != "utf-8" else body
    _check_width(reader, body)
    try:
        table = read_text(body, Csv(_COMMAS), reader.columns, only=True)
    except OutgrowError as error:
        raise RowsError(f"The body is not CSV with the model's columns: {error}.") from None
    return Query(table_batch(reader, table))


def _check_width(reader: RowReader, body: bytes) -> None:
    """Refuse a table that is much wider than the model before a column is made for each name."""
    limit = len(reader.names) + MAX_OTHER_COLUMNS
    lines = io.TextIOWrapper(io.BytesIO(body), encoding="utf-8", errors="replace", newline="")
    try:
        names = next(csv.reader(lines), [])
    except csv.Error as error:
        raise RowsError(f"The body is not CSV with the model's columns: {error}") from None
    if len(names) > limit:
        raise RowsError(
            f"The body has {len(names)} columns; at most {limit} may come. "
            "Leave out those that the model does not use."
        )


_READERS = {
    "dataframe_split": _read_split,
    "dataframe_records": _read_records,
    "instances": _read_instances,
    "inputs": _read_inputs,
}
