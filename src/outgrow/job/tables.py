"""The tables that a job names, opened where its work is done."""

from __future__ import annotations

import importlib.util
import zipfile
from pathlib import Path
from typing import Any

import pyarrow as pa

from outgrow._optional import EXTRAS
from outgrow.data.infer import read_text
from outgrow.data.text import Csv, TextOptions
from outgrow.engine.dataset import Dataset
from outgrow.engine.protocol import Engine
from outgrow.engine.reading import read
from outgrow.engine.sql import sql
from outgrow.errors import ColumnNotFoundError, InputNotFoundError, MissingExtraError
from outgrow.expectations.guard import Guard
from outgrow.job.load import LoadedJob
from outgrow.job.model import TableSpec, unknown
from outgrow.job.split import parting


def open_data(loaded: LoadedJob, engine: Engine, *, checked: bool = False) -> Dataset:
    """The rows of a job: its files or the result of its query, sampled, without the columns it drops.

    Those that part the rows stay until that is done.

    Parameters
    ----------
    loaded : the job; relative paths in it begin where its file is.
    engine : where the rows are read.
    checked : keep columns that it drops but expects something of; `dropped` names them.

    Raises
    ------
    ColumnNotFoundError
        When the target or another column that the job names is not there.
    """
    job = loaded.job
    if job.data.path is not None:
        rows = read(loaded.beside(job.data.path), engine=engine, **job.data.read.model_dump())
    else:
        tables = {name: _table(spec, loaded, engine) for name, spec in job.data.tables.items()}
        rows = sql(str(loaded.query), tables, engine=engine)
    named = {"target": [job.target], "weight": [job.weight] if job.weight else [], "data.drop": job.data.drop}
    named |= {"split.by": job.split.by or [], "split.time": [job.split.time] if job.split.time else []}
    for key, names in named.items():
        for name in names:
            if name not in rows.columns:
                raise ColumnNotFoundError(f"{key}: {unknown(name, rows.columns, 'column')}")
    gone = [name for name in dropped(loaded) if not checked or name not in expected_columns(loaded)]
    return (rows.drop(*gone) if gone else rows).sample(job.sample, seed=job.split.seed)


def dropped(loaded: LoadedJob) -> list[str]:
    """The columns that a job drops before its rows are parted."""
    return [name for name in loaded.job.data.drop if name not in parting(loaded.job)]


def expected_columns(loaded: LoadedJob) -> set[str]:
    """The columns of which a job expects something."""
    return set() if loaded.expectations is None else set(loaded.expectations.columns)


def guard_of(loaded: LoadedJob, rows: Dataset, *, some: bool = False) -> Guard:
    """What holds the rows of a job against what it expects of them.

    Parameters
    ----------
    loaded : the job, with expectations.
    rows : as `open_data` gives those that are checked.
    some : whether they are only some of these, of which nothing is expected that needs all.
    """
    assert loaded.expectations is not None
    some = some or loaded.job.sample < 1
    expectations = loaded.expectations.of_sample() if some else loaded.expectations
    return Guard(expectations, rows, dropped(loaded))


def _table(spec: TableSpec, loaded: LoadedJob, engine: Engine) -> Any:
    if spec.path is not None:
        return read(loaded.beside(spec.path), engine=engine, **spec.read.model_dump())
    return package_table(str(spec.package), str(spec.table))


def package_table(package: str, table: str) -> pa.Table:
    """A table that an installed package carries as `data/<table>.csv` (or `.csv.zip`); NA is null.

    The package is not imported: some that only carry data need old tools for that.

    Parameters
    ----------
    package : as it is imported.
    table : the name of the file, up to the first dot.

    Raises
    ------
    MissingExtraError
        When the package is not installed.
    InputNotFoundError
        When it has no such table.
    """
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        extra = next((extra for extra, modules in EXTRAS.items() if package in modules), None)
        requirement = f"'outgrow[{extra}]'" if extra else package
        raise MissingExtraError(
            f"The package {package} is not installed, and the job needs its table {table}. "
            f"Install it with: pip install {requirement}"
        )
    folder = Path(next(iter(spec.submodule_search_locations))) / "data"
    names = {path.name.partition(".")[0]: path for path in sorted(folder.glob("*.csv*"))}
    if table not in names:
        raise InputNotFoundError(f"{package}: {unknown(table, names, 'table')}")
    return _read_csv(names[table])


def _read_csv(path: Path) -> pa.Table:
    body = path.read_bytes()
    if path.suffix == ".zip":
        with zipfile.ZipFile(path) as archive:
            body = archive.read(archive.namelist()[0])
    return read_text(body, Csv(TextOptions(na_values=("NA",))))
