"""The plain protocol: rows as objects, predictions as a list; and Arrow for large requests."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pyarrow as pa

from outgrow.data.ipc import stream_table
from outgrow.errors import DataError
from outgrow.serve.http.rows import (
    NOT_JSON,
    Query,
    RowReader,
    RowsError,
    check_keys,
    decoded,
    msgspec,
    not_json,
    table_batch,
)

if TYPE_CHECKING:
    from outgrow.ml.predictor import Predictor
    from outgrow.serve.http.scoring import Answers

ARROW = "application/vnd.apache.arrow.stream"


def read(reader: RowReader, body: bytes) -> Query:
    """The rows of a body like `{"rows": [{"x": 1.0}], "probabilities": true}`, and what is wanted.

    Parameters
    ----------
    reader : of the version that will answer.
    body : JSON in UTF-8.

    Raises
    ------
    RowsError
        When the body is not what it should be.
    """
    try:
        request = reader.decoder.decode(body)
        check_keys(body, reader.keys(request.rows) + 1 + request.probabilities)
    except msgspec.ValidationError as error:
        raise _refusal(reader, decoded(body), str(error)) from None
    except NOT_JSON as error:
        raise not_json(error) from None
    return Query(reader.opened(request.rows), request.probabilities)


def _refusal(reader: RowReader, given: Any, reason: str) -> RowsError:
    if not isinstance(given, dict) or not isinstance(given.get("rows"), list):
        return RowsError(
            'The body must be an object with "rows", a list of objects of column names and values, and may '
            f'have "probabilities", true or false: {reason}'
        )
    return reader.refusal(given["rows"], reason)


def answer(answers: Answers, probabilities: bool) -> bytes:
    """The body of the answer: the version, the predictions, and the probabilities if asked.

    Parameters
    ----------
    answers : to the rows of the request.
    probabilities : whether those of the classes are given, too.

    Raises
    ------
    RowsError
        When probabilities are wanted of a model that has none.
    """
    version = answers.served.version
    response: dict[str, Any] = {"version": version.name, "predictions": answers.predictions}
    if probabilities:
        if answers.probabilities is None:
            raise RowsError(f"A {type(version.predictor.model).__name__} has no probabilities.")
        response["classes"] = version.predictor.classes
        response["probabilities"] = answers.probabilities
    encoded: bytes = msgspec.json.encode(response)
    return encoded


def read_arrow(reader: RowReader, body: bytes, limit: int | None = None) -> Query:
    """The rows of a body that is an Arrow stream; other columns than the model's are left out.

    Parameters
    ----------
    reader : of the version that will answer.
    body : the stream, perhaps compressed.
    limit : most bytes that it may decode to; None for no limit.

    Raises
    ------
    RowsError
        When the body is not what it should be.
    """
    try:
        table = stream_table(body, limit=limit)
    except DataError as error:
        raise RowsError(f"The body cannot be read: {error}") from None
    return Query(table_batch(reader, table))


def _predictions(predictor: Predictor, values: list[Any]) -> dict[str, pa.Array]:
    """Predictions as one column; the classes of several targets, which may differ in type, as one each."""
    if predictor.targets is None or predictor.labels is None:
        return {"prediction": pa.array(values)}
    return dict(zip(predictor.names("predict"), map(pa.array, zip(*values, strict=True)), strict=True))


def answer_arrow(answers: Answers, probabilities: bool) -> bytes:
    """The answers as an Arrow stream, with a column `prediction`, or one for each target of a classifier.

    Parameters
    ----------
    answers : to the rows of the request.
    probabilities : whether columns `probability_<class>` follow; a model without them leaves them out.
    """
    predictor = answers.served.version.predictor
    columns = _predictions(predictor, answers.predictions)
    if probabilities and answers.probabilities is not None:
        by_class = zip(*answers.probabilities, strict=True)
        names = predictor.names("predict_proba")
        columns |= {name: pa.array(values) for name, values in zip(names, by_class, strict=True)}
    table = pa.table(columns).replace_schema_metadata({"version": answers.served.version.name})
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as stream:
        stream.write_table(table)
    return sink.getvalue().to_pybytes()
