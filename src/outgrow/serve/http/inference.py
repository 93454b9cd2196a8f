"""The Open Inference Protocol, version 2: models and tensors, with the extension for binary data.

See https://github.com/kserve/open-inference-protocol and Triton's "Binary Tensor Data Extension".
"""

from __future__ import annotations

import base64
import math
import re
import struct
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from outgrow.data.kind import BINARY
from outgrow.serve.http.rows import Query, RowReader, RowsError, decoded, msgspec

if TYPE_CHECKING:
    from outgrow.ml.predictor import Predictor
    from outgrow.serve.http.scoring import Answers, LoadedVersion

LENGTH = "inference-header-content-length"
"""The header that says how many bytes of a body are JSON; tensors follow."""

_TYPES = {
    "BOOL": "?",
    "INT8": "<i1",
    "INT16": "<i2",
    "INT32": "<i4",
    "INT64": "<i8",
    "UINT8": "<u1",
    "UINT16": "<u2",
    "UINT32": "<u4",
    "UINT64": "<u8",
    "FP16": "<f2",
    "FP32": "<f4",
    "FP64": "<f8",
}
_LENGTH = struct.Struct("<I")
PREDICTION, PROBABILITIES = "prediction", "probabilities"


def metadata(name: str, versions: list[str], served: LoadedVersion) -> dict[str, Any]:
    """What `GET /v2/models/{name}` says.

    Parameters
    ----------
    name : under which the model is served.
    versions : those that answer.
    served : the version whose columns and outputs are described.
    """
    inputs = [
        {
            "name": column,
            "datatype": kind.form.tensor,
            "shape": [-1] if kind.width is None else [-1, kind.width],
        }
        for column, kind in served.reader.columns.items()
    ]
    predictor = served.version.predictor
    classes, targets = predictor.classes, predictor.targets
    kind = "FP64" if predictor.labels is None else _kind(predictor.labels)
    shape = [-1] if targets is None else [-1, targets]
    outputs = [{"name": PREDICTION, "datatype": kind, "shape": shape}]
    if classes is not None:
        outputs.append({"name": PROBABILITIES, "datatype": "FP64", "shape": [-1, len(classes)]})
    return {"name": name, "versions": versions, "platform": "outgrow", "inputs": inputs, "outputs": outputs}


def read(reader: RowReader, body: bytes, header: str | None) -> Query:
    """The rows of a body, whose tensors are in JSON or behind it.

    Parameters
    ----------
    reader : of the version that will answer.
    body : JSON, and the binary tensors behind it.
    header : how many bytes are JSON, as the header `LENGTH` says; None for all.

    Raises
    ------
    RowsError
        When the body is not what it should be.
    """
    end = len(body)
    if header is not None:
        end = int(header) if re.fullmatch(r"[0-9]{1,18}", header) else len(body) + 1
        if end > len(body):
            raise RowsError(f"{LENGTH} is {header!r}; the body has {len(body)} bytes.")
    given = decoded(body[:end])
    if not isinstance(given, dict) or not isinstance(given.get("inputs"), list) or not given["inputs"]:
        raise RowsError('The body must be an object with "inputs", a list of tensors.')
    columns = _unique(_columns(reader, given["inputs"], memoryview(body)[end:]))
    lengths = {len(values) for values in columns.values()}
    if len(lengths) > 1:
        raise RowsError(f"The inputs have several numbers of rows: {sorted(lengths)}.")
    rows = reader.from_arrays(list(zip(*columns.values(), strict=True)), list(columns))
    identity = given.get("id")
    identity = identity if isinstance(identity, str) else None
    return Query(rows, id=identity, outputs=_outputs(given))


def answer(name: str, question: Query, answers: Answers) -> tuple[bytes, int | None]:
    """The body of the answer, and how many bytes of it are JSON where tensors follow.

    Parameters
    ----------
    name : under which the model is served.
    question : its `id` is given back; its `outputs` say which tensors are wanted, and which as binary data.
    answers : to its rows.

    Returns
    -------
    The body, and how many bytes of it are JSON; None where no binary tensor follows.

    Raises
    ------
    RowsError
        When an output is wanted that is not there.
    """
    predictor = answers.served.version.predictor
    classes, targets = predictor.classes, predictor.targets
    tensors: dict[str, list[Any]] = {PREDICTION: answers.predictions}
    if answers.probabilities is not None:
        tensors[PROBABILITIES] = answers.probabilities
    wanted = question.outputs or dict.fromkeys(tensors, False)
    unknown = [output for output in wanted if output not in tensors]
    if unknown:
        raise RowsError(f"There is no output {unknown}; there are {list(tensors)}.")
    described, binary = [], []
    for output, raw in wanted.items():
        values = tensors[output]
        width = targets if output == PREDICTION else len(classes or ())
        kind = _kind_of(output, predictor, values, width)
        flat = values if width is None else [_in_kind(value, kind) for row in values for value in row]
        shape = [len(values)] if width is None else [len(values), width]
        tensor: dict[str, Any] = {"name": output, "datatype": kind, "shape": shape}
        if raw:
            binary.append(_to_bytes(flat, kind))
            tensor["parameters"] = {"binary_data_size": len(binary[-1])}
        else:
            tensor["data"] = flat
        described.append(tensor)
    response = {"model_name": name, "model_version": answers.served.version.name, "outputs": described}
    if question.id is not None:
        response["id"] = question.id
    head: bytes = msgspec.json.encode(response)
    return b"".join([head, *binary]), len(head) if binary else None


def _kind_of(output: str, predictor: Predictor, values: list[Any], width: int | None) -> str:
    """The type of a tensor of answers."""
    if output == PREDICTION and predictor.labels is not None:
        return _kind(predictor.labels)
    return "FP64" if width is not None else _kind(values)


def _in_kind(value: Any, kind: str) -> Any:
    """One of several answers of a row, which all have the type of the tensor."""
    return str(value) if kind == "BYTES" else value


def _unique(columns: Iterator[tuple[str, list[Any]]]) -> dict[str, list[Any]]:
    unique: dict[str, list[Any]] = {}
    for name, values in columns:
        if name in unique:
            raise RowsError(f"Column {name!r} is given by two inputs.")
        unique[name] = values
    return unique


def _outputs(given: dict[str, Any]) -> dict[str, bool]:
    raw = bool(_parameters(given).get("binary_data_output", False))
    outputs = given.get("outputs") or []
    if not isinstance(outputs, list) or not all(
        isinstance(output, dict) and "name" in output for output in outputs
    ):
        raise RowsError('"outputs" must be a list of objects with a "name".')
    if not outputs and raw:
        return {PREDICTION: True}
    return {str(output["name"]): bool(_parameters(output).get("binary_data", raw)) for output in outputs}


def _columns(reader: RowReader, inputs: list[Any], binary: memoryview) -> Iterator[tuple[str, list[Any]]]:
    """The columns that tensors hold: each one under its name, or all in a matrix."""
    start = 0
    for tensor in inputs:
        if not isinstance(tensor, dict) or not {"name", "shape", "datatype"} <= tensor.keys():
            raise RowsError('Each input needs "name", "shape" and "datatype".')
        name, shape, kind = str(tensor["name"]), tensor["shape"], tensor["datatype"]
        if not isinstance(shape, list) or not 1 <= len(shape) <= 2 or not all(_is_size(n) for n in shape):
            raise RowsError(f"Input {name!r} has shape {shape}; [rows] or [rows, columns] is needed.")
        size = _parameters(tensor).get("binary_data_size")
        if size is None:
            values = _flat(tensor.get("data"))
        elif not _is_size(size) or start + size > len(binary):
            raise RowsError(f"Input {name!r} says that it has {size} bytes; {len(binary) - start} are left.")
        else:
            encoded = reader.columns.get(name) == BINARY
            values = _from_bytes(name, binary[start : start + size], str(kind), encoded=encoded)
            start += size
        if len(values) != math.prod(shape):
            raise RowsError(f"Input {name!r} has {len(values)} values; shape {shape} needs another number.")
        yield from _named(reader, name, shape, values)


def _named(
    reader: RowReader, name: str, shape: list[int], values: list[Any]
) -> Iterator[tuple[str, list[Any]]]:
    width = shape[1] if len(shape) == 2 else 1
    rows = [values[start : start + width] for start in range(0, len(values), max(1, width))]
    if name in reader.columns:
        if reader.columns[name].items is not None:
            raise RowsError(
                f"Input {name!r} is a column of lists, of which tensors have none: they are of one shape. "
                "Send rows to /predict, or to /invocations."
            )
        vector = reader.columns[name].width is not None
        if width != 1 and not vector:
            raise RowsError(f"Input {name!r} is one column; its shape {shape} has {width}.")
        yield name, rows if vector else values
    elif width == len(reader.names):
        for column_index, column in enumerate(reader.names):
            yield column, [row[column_index] for row in rows]
    else:
        raise RowsError(
            f"Input {name!r} is no column of the model, and no matrix of its {len(reader.names)} columns.",
            columns=reader.columns,
        )


def _flat(data: Any) -> list[Any]:
    if not isinstance(data, list):
        raise RowsError('An input needs "data", a list of values.')
    nested = [isinstance(row, list) for row in data]
    if not any(nested):
        return data
    if not all(nested):
        raise RowsError('"data" is a list of values, or a list of lists; here it mixes both.')
    return [value for row in data for value in row]


def _is_size(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _parameters(given: dict[str, Any]) -> dict[str, Any]:
    parameters = given.get("parameters")
    return parameters if isinstance(parameters, dict) else {}


def _from_bytes(name: str, data: memoryview, kind: str, *, encoded: bool) -> list[Any]:
    """The values of a tensor; with `encoded` its bytes as JSON has them, in base64."""
    if kind == "BYTES":
        return [_as_text(name, item, encoded=encoded) for item in _items(name, data)]
    if kind not in _TYPES or len(data) % np.dtype(_TYPES[kind]).itemsize:
        raise RowsError(f"Input {name!r} of type {kind} cannot have {len(data)} bytes.")
    values = np.frombuffer(data, _TYPES[kind]).tolist()
    return [None if value != value else value for value in values]


def _items(name: str, data: memoryview) -> Iterator[bytes]:
    start = 0
    while start < len(data):
        end = start + _LENGTH.size
        stop = end + (_LENGTH.unpack(data[start:end])[0] if end <= len(data) else len(data))
        if stop > len(data):
            raise RowsError(f"Input {name!r} ends in the middle of a text.")
        yield bytes(data[end:stop])
        start = stop


def _as_text(name: str, item: bytes, *, encoded: bool) -> str:
    try:
        return base64.b64encode(item).decode() if encoded else item.decode()
    except UnicodeDecodeError as error:
        raise RowsError(f"Input {name!r} holds text that is not UTF-8: {error}") from None


def _to_bytes(values: list[Any], kind: str) -> bytes:
    if kind == "BYTES":
        texts = [str(value).encode() for value in values]
        return b"".join(_LENGTH.pack(len(text)) + text for text in texts)
    return np.array(values).astype(_TYPES[kind]).tobytes()


def _kind(values: Sequence[Any]) -> str:
    first = values[0] if values else 0.0
    for type_, kind in ((bool, "BOOL"), (int, "INT64"), (float, "FP64")):
        if isinstance(first, type_):
            return kind
    return "BYTES"
