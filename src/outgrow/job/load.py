"""A job file, read and checked as a whole before any data is."""

from __future__ import annotations

import copy
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from outgrow.errors import InputNotFoundError, JobFileError
from outgrow.expectations.expectations import Expectations
from outgrow.expectations.spec import FaultsError
from outgrow.job.components import SpecError, build_pipeline
from outgrow.job.document import KeyPath, fault, located, parse, read_text
from outgrow.job.model import Job
from outgrow.job.settings import dump_yaml, set_value
from outgrow.ml.pipeline import Pipeline


@dataclass(frozen=True)
class LoadedJob:
    """A job that was checked, the pipeline it names (not fitted), and where it was read."""

    job: Job
    pipeline: Pipeline
    folder: Path
    document: dict[str, Any]
    expectations: Expectations | None = None

    def beside(self, path: str) -> str:
        """A path that the file names, as seen from here."""
        return path if "://" in path else os.path.join(self.folder, os.path.expanduser(path))

    @property
    def query(self) -> str | None:
        """The query, from wherever the job keeps it.

        Raises
        ------
        InputNotFoundError
            When there is no such file.
        """
        name = self.job.data.query_file
        if name is None:
            return self.job.data.query
        try:
            return Path(self.beside(name)).read_text()
        except FileNotFoundError as error:
            raise InputNotFoundError(
                f"data.query_file: there is no file {self.beside(name)}. Correct the name."
            ) from error

    @property
    def text(self) -> str:
        """The job as YAML that runs from anywhere: with its settings, its query, and absolute paths."""
        document = copy.deepcopy(self.document)
        data = document["data"]
        if "path" in data:
            data["path"] = self._absolute(data["path"])
        for name, table in data.get("tables", {}).items():
            if isinstance(table, str):
                data["tables"][name] = self._absolute(table)
            elif "path" in table:
                table["path"] = self._absolute(table["path"])
        if self.expectations is not None:
            document["expect"] = self.expectations.absolute().to_dict()
        if self.query is not None:
            data.pop("query_file", None)
            data["query"] = self.query
        return dump_yaml(document)

    def _absolute(self, path: str) -> str:
        return path if "://" in path else os.path.abspath(self.beside(path))


def job_facts(loaded: LoadedJob, engine: Any) -> dict[str, Any]:
    """What a record of a job must hold so that it can be run again.

    Parameters
    ----------
    loaded : the job.
    engine : where it runs.
    """
    job = loaded.job
    return {
        "name": job.name,
        "job": loaded.text,
        "target": job.target,
        "weight": job.weight,
        "engine": engine,
        "output": job.output,
    }


def load_job(path: str | os.PathLike[str], settings: Sequence[str] = ()) -> LoadedJob:
    """Read a job file.

    Parameters
    ----------
    path : the file.
    settings : values to set in it, each like 'model.C=0.1'.

    Raises
    ------
    InputNotFoundError
        When there is no such file.
    JobFileError
        When the file or a setting is not valid: all faults, with the key and the line of each.
    """
    text = read_text(Path(path), "job")
    document, lines = parse(text, str(path), "job", Job.model_fields)
    for setting in settings:
        set_value(document, setting)
    faults = list[tuple[KeyPath, str]]()
    try:
        job = Job.model_validate(document)
        pipeline = build_pipeline(job)
        expectations = _expectations(job, Path(path).parent)
    except ValidationError as error:
        faults = _all_faults(document, error)
    except SpecError as error:
        faults = [(error.key_path, str(error))]
    except FaultsError as error:
        faults = [(("expect", *key_path), text) for key_path, text in error.faults]
    else:
        return LoadedJob(job, pipeline, Path(path).parent, document, expectations)
    messages = [located(key_path, text, lines) for key_path, text in faults]
    raise JobFileError(f"{path} is not a valid job, and nothing was read:\n  " + "\n  ".join(messages))


def _all_faults(document: dict[str, Any], error: ValidationError) -> list[tuple[KeyPath, str]]:
    """Where and what is wrong, also behind keys that are not known, which end the look at their mapping."""
    details = error.errors()
    faults = dict(fault(detail["loc"], detail, "job") for detail in details)
    strange = [fault(detail["loc"], detail, "job")[0] for detail in details if detail["type"] == "unknown"]
    if not strange:
        return list(faults.items())
    rest = copy.deepcopy(document)
    for *above, key in strange:
        holder: Any = rest
        for part in above:
            holder = holder[part]
        del holder[key]
    try:
        Job.model_validate(rest)
    except ValidationError as further:
        return list({**faults, **dict(_all_faults(rest, further))}.items())
    return list(faults.items())


def _expectations(job: Job, folder: Path) -> Expectations | None:
    """What a job expects of its rows, said in it or in a file of its own."""
    if isinstance(job.expect, str):
        return Expectations(os.path.join(folder, job.expect))
    return None if job.expect is None else Expectations(job.expect, folder=folder)
