"""Files and tables of databases as datasets."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from outgrow.data.files import FilesSource
from outgrow.data.kind import Kind
from outgrow.data.open import KINDS, named_path, open_path
from outgrow.data.scan import Scan, Select
from outgrow.data.text import TextOptions
from outgrow.data.text_source import TextSource
from outgrow.data.version import DatasetVersion
from outgrow.engine.dataset import Dataset
from outgrow.engine.local import Local
from outgrow.engine.protocol import Engine


def read(
    path: str | os.PathLike[str] | Sequence[Any] | DatasetVersion,
    *,
    format: str | None = None,
    types: Mapping[str, Any] | str | os.PathLike[str] | None = None,
    na_values: str | Sequence[str] = (),
    encoding: str | None = None,
    sep: str | None = None,
    decimal: str = ".",
    engine: Engine | None = None,
) -> Dataset:
    """Open files as a dataset: Parquet, CSV, JSON, Arrow IPC, ORC, Avro or HDF5; or a table by its URI.

    In CSV an empty cell is missing, also in columns of text, and also in quotes; so is what pandas takes for
    missing ('NA', 'null', ...) in columns of numbers and times. Types are those that fit all values of all
    files.

    Parameters
    ----------
    path : a file, a folder (read with its sub-folders, `key=value` ones as columns), a pattern such as
        'flights/*.parquet', or a list of files; local, or any URI that PyArrow or fsspec opens. A folder of
        Delta Lake is read as its log says, perhaps at a version: 'flights@v12', 'flights@2026-11-01'. A group
        of HDF5 stands behind '::'. A `DatasetVersion` reads the same rows again, or says what has changed.
        Tables: 'iceberg://catalog/namespace.table',
        perhaps at a snapshot or tag ('...table@monthly'), 'dvc://flights.csv@v2' (a revision of Git),
        'sqlite:///flights.db?table=flights', 'postgresql://host/db?query=...', 'duckdb:///flights.db?table=...'.
    format : 'parquet', 'csv', 'tsv', 'json', 'ipc', 'orc', 'avro', 'hdf5', 'npy' or 'delta'; by default the
        file's ending tells. 'images' makes rows of the image files of a folder: their bytes as `image`, the
        name of their folder as `label`, and `path`. 'npy' makes columns of the arrays of a folder, by their
        names.
    types : for text, the types of columns that are not to be found out: 'number', 'text' or 'time', an Arrow
        type or its name; or the path of a JSON file of these, as `Dataset.write_types` writes it. For
        `key=value` folders of any format, too.
    na_values : for CSV, further cells that are missing, in columns of any type.
    encoding : of text; by default UTF-8, UTF-16 where the bytes say so, else, with a warning, cp1252.
    sep : what divides the cells of CSV.
    decimal : what stands before the fraction of a number in CSV, '.' or ','.
    engine : where the work is done; this machine by default.

    Raises
    ------
    InputNotFoundError
        When no file is found.
    DataError
        When a file cannot be read.
    SchemaError
        When files have different columns.

    Examples
    --------
    >>> import pathlib, tempfile, outgrow as og
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "towns.csv"
    >>> _ = path.write_text("zip;height\\n01067;113\\n-;NA\\n", encoding="latin-1")
    >>> rows = og.read(path, sep=";", types={"zip": "text"}, na_values="-", encoding="latin-1")
    >>> rows.to_arrow().to_pylist()
    [{'zip': '01067', 'height': 113}, {'zip': None, 'height': None}]
    """
    options = TextOptions.of(types, na_values, encoding, sep, decimal)
    recorded = path if isinstance(path, DatasetVersion) else None
    if recorded is not None and format is None and recorded.kind in KINDS:
        format = recorded.kind
    opened, origin = named_path(path if recorded is None else recorded.paths())
    rows = Dataset(Scan(open_path(opened, format, options), origin=origin), engine or Local())
    if recorded is not None:
        recorded.check_same(rows.version())
    return rows


def read_as(rows: Dataset, kinds: Mapping[str, Kind]) -> Dataset:
    """The rows of files, with text read so that columns are of the kinds that were promised at fit.

    Digits are read as text, say, if the model learned from text.

    Parameters
    ----------
    rows : what is to be predicted. Rows from elsewhere, or after steps that do more than choose columns, are
        handed back as they are.
    kinds : of the columns that the model knows, by name.
    """
    scan, source = rows.scan, rows.scan.source
    if isinstance(source, FilesSource | TextSource) and all(isinstance(step, Select) for step in scan.steps):
        return Dataset(replace(scan, source=source.with_kinds(kinds)), rows.engine)
    return rows
