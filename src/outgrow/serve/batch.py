"""Rows in, rows with predictions out: a dataset, or a folder of Parquet that appears whole."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from outgrow.data.batch import Batch
from outgrow.data.exact import readable
from outgrow.data.scan import check_columns
from outgrow.data.schema import check_kinds
from outgrow.data.version import DatasetVersion
from outgrow.engine.activity import activity
from outgrow.engine.dataset import Dataset
from outgrow.engine.open import dataset
from outgrow.engine.reading import read_as
from outgrow.engine.record import as_tree
from outgrow.engine.write import (
    MAIN,
    OutputTable,
    PieceWriter,
    Tables,
    check_apart,
    close_folder,
    read_ledger,
    write_pieces,
)
from outgrow.errors import OutgrowError, ParameterError, RowError
from outgrow.expectations.checker import REASON, RowChecker, with_reasons
from outgrow.expectations.expectations import Expectations
from outgrow.ml.base import VERSION
from outgrow.ml.persistence import load
from outgrow.ml.predictor import Predictor
from outgrow.storage import (
    TABLE,
    Pathlike,
    StagedFolder,
    check_free,
    finish_replacement,
    staged_folder,
    written_by,
)

_REFUSED = "refused"
_SHOWN_CHARACTERS = 300
_RENAME = "Rename those first."
_KEEP_OTHERS = "Rename those, or choose others to keep with keep=... (--keep)."


@dataclass(frozen=True)
class Scored:
    """What `score` did.

    Attributes
    ----------
    rows : how many rows were written with a prediction.
    refused : how many could not be scored, and are in the table of errors.
    resumed : how many pieces an earlier run had done.
    """

    rows: int
    refused: int = 0
    resumed: int = 0


def score(
    model: Any,
    rows: Any,
    output: str | os.PathLike[str],
    *,
    keep: Sequence[str] | None = None,
    probabilities: bool = False,
    errors: str | os.PathLike[str] | None = None,
    partition_by: str | Sequence[str] = (),
    expect: Any = None,
    overwrite: bool = False,
) -> Scored:
    """Write the predictions of a model for rows: a folder of Parquet files that appears whole or not at all.

    Where the rows are decides where it runs, as everywhere: here, or in the tasks of a Spark session. A run
    that was stopped goes on where it was when it is called again with the same arguments.

    Parameters
    ----------
    model : a fitted model or pipeline, or the path of a saved one.
    rows : dataset, Spark DataFrame or table.
    output : the folder to write. On Spark all executors must reach it.
    keep : the columns of `rows` to write beside the predictions; all by default.
    probabilities : also write the probability of each class, as columns `probability_<class>`.
    errors : a folder for the rows that cannot be scored, whole, with the column `reason`. Without it such a
        row ends the run with an error that names it.
    partition_by : columns that become folders `name=value`.
    expect : `og.Expectations` or the path of a file of them: rows that break a rule of theirs go to `errors`,
        too, which must be given. What is expected of the whole table is not looked at.
    overwrite : replace outputs that outgrow wrote.

    Returns
    -------
    Scored, which says how many rows were written.

    Raises
    ------
    RowError
        When a row cannot be scored; it names the file and the row.
    SchemaError
        When a column to keep is called as one of the predictions, or with `errors` a column `reason`.
    OutputExistsError
        When an output exists and `overwrite` is false.

    Examples
    --------
    >>> import tempfile, pyarrow as pa, outgrow as og
    >>> table = pa.table({"x": [1.0, 2.0, 3.0], "y": [2.0, 4.0, 6.0]})
    >>> model = og.LinearRegression().fit(table, "y")
    >>> og.score(model, table, tempfile.mkdtemp() + "/scores", keep=["y"])
    Scored(rows=3, refused=0, resumed=0)
    """
    path = os.fspath(model) if isinstance(model, str | os.PathLike) else None
    model = load(model) if path is not None else model
    data = read_as(dataset(rows), Predictor(model).columns)
    keys = (partition_by,) if isinstance(partition_by, str) else tuple(partition_by)
    scoring = prepare(model, data, keep=keep, probabilities=probabilities, lenient=errors is not None)
    if expect is not None:
        scoring = scoring.expecting(expect, data)
    with activity("score", model, data=data, output=os.fspath(output)) as scored:
        made = made_of(model, data, path)
        done = write_scores(scoring, data, output, errors=errors, keys=keys, overwrite=overwrite, made=made)
        scored.note(rows=done.rows, metrics={"refused": done.refused})
    return done


def write_scores(
    scoring: Scoring,
    data: Dataset,
    output: str | os.PathLike[str],
    *,
    errors: str | os.PathLike[str] | None = None,
    keys: tuple[str, ...] = (),
    overwrite: bool = False,
    made: Mapping[str, Any] | None = None,
) -> Scored:
    """What `score` does when everything is checked.

    Parameters
    ----------
    scoring : what becomes of each batch, as `prepare` gave it.
    data : the rows, of the columns' kinds.
    output : the folder for rows with their predictions.
    errors : the folder for rows that cannot be scored; None where `scoring` is not lenient.
    keys : columns that become folders `name=value`; of the output alone.
    overwrite : replace outputs that outgrow wrote.
    made : what the outputs say of where they come from.
    """
    data = scoring.needed(data)
    schemas = scoring.schemas(data)
    check_columns(schemas[MAIN], keys)
    outputs = {MAIN: output} if errors is None else {MAIN: output, _REFUSED: errors}
    _check_outputs(data, outputs)
    with ExitStack() as stack:
        staged = _staged_folders(stack, outputs, _identity(data, scoring, keys), made, overwrite=overwrite)
        tables = {
            name: OutputTable(str(staged_output.folder), schemas[name], keys if name == MAIN else ())
            for name, staged_output in staged.items()
        }
        main = staged[MAIN]
        resumed = len(read_ledger(main.folder))
        if main.info.done is None:
            counts = write_pieces(data, PieceWriter(str(main.folder), tables, scoring), stage="score")
            main.note({name: sum(count[name] for count in counts) for name in schemas})
        done = main.info.done or {}
        for name in (_REFUSED, MAIN):  # the run goes on until the main table is at its path
            if name in staged:
                close_folder(tables[name], done[name])
                staged[name].commit()
    return Scored(done[MAIN], done.get(_REFUSED, 0), resumed)


def prepare(
    model: Any,
    rows: Dataset,
    *,
    keep: Sequence[str] | None = None,
    probabilities: bool = False,
    lenient: bool = False,
) -> Scoring:
    """Check that a model can score these rows in this way.

    Parameters
    ----------
    model : fitted.
    rows : whose columns are checked; nothing is read.
    keep : the columns to keep beside the predictions; None for all.
    probabilities : also write those of each class.
    lenient : set rows that cannot be scored apart, rather than raise for them.

    Raises
    ------
    ParameterError
        When probabilities are wanted of a model that has none.
    SchemaError
        When a column of the model's is missing or of another kind.
    ColumnNotFoundError
        When a column to keep is missing.
    """
    predictor = Predictor(model)
    kind = type(predictor.model).__name__
    if probabilities and not predictor.gives("predict_proba"):
        raise ParameterError(f"A {kind} has no probabilities. Leave out probabilities=True (--proba).")
    check_kinds(predictor.columns, rows.schema, type(model).__name__)
    if keep is not None:
        check_columns(rows.schema, keep)
    return Scoring(predictor, probabilities, None if keep is None else tuple(keep), lenient)


@dataclass(frozen=True)
class Scoring:
    """What becomes of a batch: the columns to keep with their predictions, and the rows that have none.

    Attributes
    ----------
    keep : the columns to keep; None for all.
    lenient : whether rows that cannot be scored are set apart rather than an error.
    version : the model's, written beside each row as `model_version`; None for no such column.
    """

    predictor: Predictor
    probabilities: bool = False
    keep: tuple[str, ...] | None = None
    lenient: bool = False
    version: str | None = None
    checker: RowChecker | None = None

    def expecting(self, expect: Any, rows: Dataset) -> Scoring:
        """The same where rows that break a rule are set apart before they are scored.

        Parameters
        ----------
        expect : as `score` takes it.
        rows : that are scored.

        Raises
        ------
        ParameterError
            When rows that cannot be scored are not set apart.
        """
        if not self.lenient:
            raise ParameterError("Rows that are not as expected need a folder: give errors=... (--errors).")
        expectations = expect if isinstance(expect, Expectations) else Expectations(expect)
        return replace(self, checker=expectations.checker(rows))

    def __call__(self, batch: Batch, where: Callable[[int], str]) -> Tables:
        if self.checker is None:
            return self._scored(batch, where)
        batch, aside, reasons, _ = self.checker.part(batch)
        tables = self._scored(batch, where)
        if not reasons:
            return tables
        refused = [tables[_REFUSED]] if _REFUSED in tables else []
        return {**tables, _REFUSED: Batch.joined([*refused, with_reasons(aside, reasons)])}

    def _scored(self, batch: Batch, where: Callable[[int], str]) -> Tables:
        try:
            return {MAIN: self.beside(batch)}
        except OutgrowError:
            scored = self.predictor.score_rows(batch, probabilities=self.probabilities)
            if not self.lenient:
                raise _located(batch, scored.reasons, where) from None
            return self._apart(batch, scored.scores, scored.reasons)

    def needed(self, rows: Dataset) -> Dataset:
        """The rows with no more columns than are used or kept: others are not even read."""
        wanted = {*self.predictor.columns, *(self.keep or ())}
        if self.keep is None or self.lenient or wanted == set(rows.columns):
            return rows
        return rows.select([name for name in rows.columns if name in wanted])

    def beside(self, batch: Batch) -> Batch:
        """The rows of a batch with their predictions."""
        return self._with(batch, self.predictor.scores(batch, probabilities=self.probabilities))

    def schemas(self, rows: Dataset) -> dict[str, pa.Schema]:
        """The tables that it makes of some rows, and their columns."""
        example = rows.scan.example()
        schemas = {MAIN: self.beside(example).to_arrow().schema}
        if self.lenient:
            schemas[_REFUSED] = self._refused(example, {}).to_arrow().schema
        return schemas

    def _with(self, batch: Batch, scores: dict[str, pa.Array]) -> Batch:
        kept = batch if self.keep is None else batch.select(self.keep)
        if self.version is not None:
            scores[VERSION] = pa.array([self.version] * batch.num_rows, pa.string())
        return kept.beside(scores, "Predictions", _KEEP_OTHERS)

    def _apart(self, batch: Batch, scores: dict[str, pa.Array], reasons: dict[int, str]) -> Tables:
        good = np.ones(batch.num_rows, dtype=bool)
        good[list(reasons)] = False
        main = self._with(batch.filter(good), scores)
        return {MAIN: main, _REFUSED: self._refused(batch.filter(~good), reasons)}

    def _refused(self, batch: Batch, reasons: dict[int, str]) -> Batch:
        texts = pa.array([reasons[row] for row in sorted(reasons)], pa.string())
        return batch.beside({REASON: texts}, "Why rows are refused", _RENAME)


def _located(batch: Batch, reasons: dict[int, str], where: Callable[[int], str]) -> RowError:
    row, reason = min(reasons.items())
    values = str(readable(batch.slice(row, 1).to_arrow())[0])
    shown = values if len(values) <= _SHOWN_CHARACTERS else values[:_SHOWN_CHARACTERS] + "..."
    more = f" {len(reasons) - 1} more rows beside it cannot be scored either." if len(reasons) > 1 else ""
    return RowError(
        f"{where(row).capitalize()} cannot be scored: {reason}{more} Its values: {shown} "
        "Correct the rows, or have those that cannot be scored set apart with errors=... (--errors)."
    )


def _identity(rows: Dataset, scoring: Scoring, keys: tuple[str, ...]) -> str | None:
    """What tells this run from others; None where the pieces of the rows are not the same in another run."""
    if not rows.scan.source.has_pieces:
        return None
    what = [rows.fingerprint(), repr(scoring), keys, version("outgrow")]
    return hashlib.sha256(json.dumps(what, sort_keys=True, default=str).encode()).hexdigest()


def _check_outputs(rows: Dataset, outputs: Mapping[str, Pathlike]) -> None:
    """The outputs are no input, and none is in another."""
    check_apart(rows, *outputs.values())
    first, *others = (Path(output).resolve() for output in outputs.values())
    for other in others:
        if first.is_relative_to(other) or other.is_relative_to(first):
            raise ParameterError(
                f"The scores at {first} and the errors at {other} overlap. Give two folders."
            )


def made_of(model: Any, rows: Dataset, path: str | None = None) -> dict[str, Any]:
    """Of which model and rows scores are made, for the folder that holds them.

    Parameters
    ----------
    model : fitted; its record says which rows it learned from.
    rows : that are scored.
    path : of the saved model, where it was one.
    """
    record = getattr(model, "fit_record_", None)
    about = {"class": type(model).__name__, "path": None if path is None else os.path.abspath(path)}
    return {
        "by": f"outgrow {version('outgrow')}",
        "model": {**about, **({} if record is None else as_tree(record))},
        "input": DatasetVersion.of(rows.scan).to_dict(),
    }


def _staged_folders(
    stack: ExitStack,
    outputs: Mapping[str, Pathlike],
    work: str | None,
    made: Mapping[str, Any] | None,
    *,
    overwrite: bool,
) -> dict[str, StagedFolder]:
    """A staged folder for each output that is not yet at its path.

    What was done goes on only where all staged folders of a run are there: another run may have taken one
    over.
    """
    for output in outputs.values():
        if work is None or not written_by(output, work):
            check_free(output, TABLE, overwrite=overwrite)
    staged: dict[str, StagedFolder] = {}
    for name, output in outputs.items():
        at_its_end = bool(staged) and staged[MAIN].info.done is not None
        if at_its_end and written_by(output, work):
            finish_replacement(output)
        else:
            staged[name] = stack.enter_context(
                staged_folder(output, TABLE, overwrite=overwrite, work=work, made=made)
            )
    if not all(staged_output.resumed for staged_output in staged.values()):
        for staged_output in staged.values():
            staged_output.restart()
    return staged
