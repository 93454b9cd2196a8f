"""A candidate is learned by a process of its own, which a budget ends, and leaves a whole run or none."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import yaml

from outgrow import storage
from outgrow.data.yaml_files import YamlLoader
from outgrow.engine.local import Local
from outgrow.errors import OutgrowError
from outgrow.job.load import load_job
from outgrow.job.record import MODEL
from outgrow.job.run import run_job
from outgrow.job.settings import dump_yaml
from outgrow.loop.load import LoadedPolicy
from outgrow.loop.rows import LandedRows
from outgrow.loop.view import BY
from outgrow.ml.persistence import load
from outgrow.registry.store import ModelStore

_CODE = (
    "import sys; from outgrow._process import end_with; end_with(int(sys.argv[1])); "
    "from outgrow.cli import main; main(sys.argv[2:])"
)
_RUN, _ROWS, _JOB = "run", "rows.parquet", "job.yaml"


@dataclass(frozen=True)
class Training:
    """Learns candidates as the policy's job says.

    Attributes
    ----------
    loaded : the policy.
    store : to which the versions are added.
    rows : where rows and labels land.
    here : train in this process, where no budget of time can end it.
    """

    loaded: LoadedPolicy
    store: ModelStore
    rows: LandedRows
    here: bool = False

    def folder(self, number: int) -> Path:
        """Where the work of a decision lies."""
        return self.store.path / ".loop" / f"{number:06d}"

    def run(self, number: int, since: float | None, until: float) -> dict[str, Any]:
        """Train, and add the model to the store; what has been done of that is not done again.

        Parameters
        ----------
        number : of the decision.
        since, until : the span of time whose labelled rows are learned from.

        Returns
        -------
        `outcome`, and `version` or `because`.
        """
        retrain = self.loaded.policy.retrain
        assert retrain is not None
        folder = self.folder(number)
        if not (folder / _RUN / MODEL).exists():
            problem = self._train(folder, since, until)
            if problem is not None:
                return {"outcome": "failed", "because": problem}
        version = self._known(folder / _RUN / MODEL)
        if version is None:
            version = self.store.add(load(folder / _RUN / MODEL), by=BY)
        (folder / _ROWS).unlink(missing_ok=True)
        return {"outcome": "done", "version": version, "run": str(folder / _RUN)}

    def _train(self, folder: Path, since: float | None, until: float) -> str | None:
        retrain = self.loaded.policy.retrain
        assert retrain is not None
        try:
            loaded = load_job(self.loaded.beside(retrain.job))
        except OutgrowError as error:
            return str(error)
        document = dict(loaded.document)
        with storage.disk_errors(folder):
            folder.mkdir(parents=True, exist_ok=True)
        if retrain.rows is not None:
            count = self._write(folder / _ROWS, since, until)
            if not count:
                return "No labelled row lies in that span of time. Do labels land where watch.quality says?"
            drop = document["data"].get("drop", [])
            document["data"] = {"path": str((folder / _ROWS).resolve()), "drop": drop}
        else:
            document = yaml.load(loaded.text, YamlLoader)
        document["output"] = str((folder / _RUN).resolve())
        (folder / _JOB).write_text(dump_yaml(document))
        if self.here:
            return _train_here(folder / _JOB)
        return self._process(folder, Path(self.loaded.beside(retrain.job)).parent)

    def _write(self, path: Path, since: float | None, until: float) -> int:
        rows = self.rows.labelled(since, until)
        if rows is None:
            return 0
        table = rows.to_arrow()
        under = path.with_suffix(".new")
        with storage.disk_errors(path):
            pq.write_table(table, under)
            under.replace(path)
        return int(table.num_rows)

    def _process(self, folder: Path, beside: Path) -> str | None:
        """Run the job; why it failed, or None."""
        retrain = self.loaded.policy.retrain
        assert retrain is not None
        seconds = None if retrain.budget is None else retrain.budget.time
        words = [sys.executable, "-c", _CODE, str(os.getpid()), "run", str(folder / _JOB), "--overwrite"]
        paths = os.pathsep.join(filter(None, [str(beside.resolve()), os.environ.get("PYTHONPATH")]))
        environment = {**os.environ, "PYTHONPATH": paths}
        process = subprocess.Popen(
            words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment
        )
        try:
            output, _ = process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
            return f"It took longer than its budget of {seconds:g} s (retrain.budget.time)."
        except BaseException:
            process.kill()
            process.wait()
            raise
        if process.returncode:
            lines = output.strip().splitlines() or ["no word"]
            return f"outgrow run ended with {process.returncode}: {lines[-1]}"
        return None

    def _known(self, model: Path) -> int | None:
        """The version that this model is in the store already, after a kill between adding and noting it."""
        learned = _learned(model)
        for version in reversed(self.store.versions):
            if _learned(self.store.path / str(version)) == learned:
                return version
        return None


def _learned(model: Path) -> Any:
    """What a saved model has learned, whoever saved it again; None where none is."""
    try:
        structure = json.loads((model / storage.STRUCTURE).read_bytes())
        content, digests = dict(structure["content"]), dict(structure["sha256"])
    except (OSError, ValueError, KeyError):
        return None
    content.pop("fit", None)  # how long it took is of the first saving only
    digests.pop("content", None)
    return content, digests


def _train_here(job: Path) -> str | None:
    try:
        run_job(load_job(job), Local(), overwrite=True, report=False)
    except OutgrowError as error:
        return str(error)
    return None
