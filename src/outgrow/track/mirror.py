"""Records of runs as runs of MLflow: told in order, again without harm, never asked what is true."""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from outgrow._optional import optional
from outgrow.errors import LogError, ParameterError
from outgrow.log.record import Fact
from outgrow.track.recorder import STAGE
from outgrow.track.runs_view import shown

ID, RECORDS = "outgrow.id", "outgrow.records"
"""Tags of MLflow's runs: the id of ours, and how many of its records are there."""
TRIALS = ("best", "all", "table")
MODEL_NAME = "model"
"""What MLflow calls the model of a run."""
_METRICS, _PARAMETERS, _TAGS = 1_000, 100, 100
"""Most that MLflow takes at once."""
_LONGEST_PARAMETER, _LONGEST_TAG = 6_000, 5_000
_FLUSH_SECONDS = 1.0
_NOT_ALLOWED = re.compile(r"[^\w\-. /:]")
_STATES = {"finished": "FINISHED", "failed": "FAILED", "killed": "KILLED"}
_TYPES = {
    "double": "double",
    "float": "float",
    "int64": "long",
    "int32": "integer",
    "bool": "boolean",
    "string": "string",
    "large_string": "string",
}
_OF_A_TRIAL = {"trial", "state", "seconds", "error"}


@dataclass
class _Mirrored:
    """A run, and its equal at MLflow."""

    run_id: str
    began: int
    stages: dict[str, str] = field(default_factory=dict)
    """Of each metric, the stage whose points have its plain name."""
    samples: int = 0
    adopted: bool = False
    """Whether MLflow began it, and will end it."""


class Mirror:
    """Writes records of runs to a tracking server.

    Parameters
    ----------
    uri : of the server; that of `mlflow.set_tracking_uri` if None.
    experiment : its name; made where it is not there; that of `mlflow.set_experiment` if None.
    trials : of a search: a child run for the 'best' trial or for 'all', or a 'table' alone.
    datasets, system_metrics : whether they are written.
    """

    def __init__(
        self,
        uri: str | None = None,
        experiment: str | None = None,
        *,
        trials: str = "best",
        datasets: bool = True,
        system_metrics: bool = True,
    ) -> None:
        if trials not in TRIALS:
            raise ParameterError(f"trials={trials!r}: choose one of {', '.join(TRIALS)}.")
        self._mlflow = optional("mlflow", "track")
        self.client = self._mlflow.MlflowClient(tracking_uri=uri)
        self._name, self._experiment_id = experiment, None
        self._trials, self._datasets, self._system = trials, datasets, system_metrics
        self.known: dict[str, _Mirrored] = {}
        self.models: dict[str, Any] = {}
        """By run, what logs its model, once MLflow has the run."""
        self.parents: dict[str, str] = {}
        """By run, the run of MLflow that was active when it began."""
        self._metrics: dict[str, list[Any]] = {}
        self._flushed = time.monotonic()

    # ---- as a store that a LogWriter writes to -----------------------------------------------------------

    def append(self, facts: Sequence[Fact]) -> list[Any]:
        """Write facts in their order.

        Raises
        ------
        LogError
            When the server cannot be reached, or refuses; writing them again does no harm.
        """
        try:
            for fact in facts:
                self.take(fact.kind, fact.subject, json.loads(fact.text), fact.time, fact.by)
            self.flush()
        except Exception as error:  # whatever MLflow, its database or its HTTP raise
            raise LogError(f"MLflow cannot be written to: {type(error).__name__}: {error}.") from error
        return []

    # ---- records -----------------------------------------------------------------------------------------

    def take(self, kind: str, run: str, body: Mapping[str, Any], at: float, by: str) -> None:
        """Write a record.

        Parameters
        ----------
        kind, run, body, at, by : the record's kind, subject, body, time and author.
        """
        moment = int(1000 * at)
        if kind == "run.began":
            self._begin(run, body, moment, by)
            return
        mirrored = self.known.get(run)
        if mirrored is None:
            return
        if kind == "run.passed":
            self._passed(mirrored, body, moment)
        elif kind == "run.sampled" and self._system:
            self._sampled(mirrored, body, moment)
        elif kind == "run.measured":
            self._put(mirrored, {str(k): v for k, v in body.get("metrics", {}).items()}, 0, moment)
        elif kind == "data.seen" and self._datasets:
            self._see(mirrored, body)
        elif kind == "run.ended":
            self._end(run, mirrored, body, moment)
        elif kind == "run.tagged":
            tags = {**body.get("tags", {})}
            if body.get("description"):
                tags["mlflow.note.content"] = body["description"]
            self._tag(mirrored.run_id, tags)
        elif kind == "run.deleted":
            self.client.delete_run(mirrored.run_id)
        waiting = sum(map(len, self._metrics.values()))
        if waiting >= _METRICS or time.monotonic() - self._flushed > _FLUSH_SECONDS:
            self.flush()

    def flush(self) -> None:
        """Write the metrics that wait."""
        for run_id, metrics in list(self._metrics.items()):
            for start in range(0, len(metrics), _METRICS):
                self.client.log_batch(run_id, metrics=metrics[start : start + _METRICS])
            del self._metrics[run_id]
        self._flushed = time.monotonic()

    def adopt(self, run: str, run_id: str) -> None:
        """Take a run that MLflow has for one of ours.

        Parameters
        ----------
        run, run_id : our id, and MLflow's.
        """
        self.known[run] = _Mirrored(run_id, int(self.client.get_run(run_id).info.start_time))

    def note(self, run: str, tags: Mapping[str, Any]) -> None:
        """Set tags of a run.

        Parameters
        ----------
        run : our id.
        tags : by name.
        """
        self._tag(self.known[run].run_id, tags)

    def find(self, runs: Sequence[str]) -> dict[str, tuple[str, int]]:
        """Those of the runs that MLflow has, with its ids and how many of their records it has.

        Parameters
        ----------
        runs : our ids.
        """
        wanted, there, token = set(runs), {}, None
        while True:
            page = self.client.search_runs(
                [self.experiment], f"tags.`{ID}` LIKE '%'", max_results=1_000, page_token=token
            )
            for listed in page:
                tags = listed.data.tags
                if tags[ID] in wanted:
                    there[tags[ID]] = listed.info.run_id, int(tags.get(RECORDS, 0))
            token = page.token
            if not token:
                return there

    @property
    def experiment(self) -> str:
        """The id of the experiment; it is made where there is none of this name."""
        if self._experiment_id is None:
            if self._name is None:
                self._experiment_id = self._mlflow.tracking.fluent._get_experiment_id()
            else:
                experiment = self.client.get_experiment_by_name(self._name)
                made = experiment or self.client.get_experiment(self.client.create_experiment(self._name))
                self._experiment_id = made.experiment_id
        return str(self._experiment_id)

    def _begin(self, run: str, body: Mapping[str, Any], moment: int, by: str) -> None:
        if run not in self.known:
            code, project = body.get("code", {}), os.environ.get("MLFLOW_RUN_ID")
            tags = {
                ID: run,
                "outgrow.kind": body.get("kind"),
                "outgrow.estimator": body.get("estimator"),
                "outgrow.engine": (body.get("engine") or {}).get("name"),
                "mlflow.user": by.partition("@")[0],
                "mlflow.source.name": code.get("script"),
                "mlflow.source.type": "LOCAL",
                "mlflow.source.git.commit": code.get("commit"),
                "mlflow.source.branch": code.get("branch"),
                "mlflow.source.git.repoURL": code.get("repository"),
                "mlflow.parentRunId": self.parents.get(run),
                **body.get("tags", {}),
            }
            tags = {name: str(value)[:_LONGEST_TAG] for name, value in tags.items() if value}
            adopted = project is not None and not any(other.adopted for other in self.known.values())
            if adopted and project is not None:
                self._tag(project, {k: v for k, v in tags.items() if not k.startswith("mlflow.")})
                self.known[run] = _Mirrored(project, moment, adopted=True)
            else:
                name = str(body.get("name"))
                made = self.client.create_run(self.experiment, moment, tags, run_name=name)
                self.known[run] = _Mirrored(made.info.run_id, moment)
        mirrored = self.known[run]
        self._parameters(mirrored.run_id, body.get("parameters", {}))
        if body.get("job"):
            self.client.log_text(mirrored.run_id, body["job"], "job.yaml")
        if body.get("environment"):
            self.client.log_dict(mirrored.run_id, body["environment"], "environment.json")

    def _passed(self, mirrored: _Mirrored, body: Mapping[str, Any], moment: int) -> None:
        stage = body.get("stage", "")
        if body.get("unit") == "part":
            return
        values = {}
        for name, value in body.get("metrics", {}).items():
            plain = mirrored.stages.setdefault(name, stage) == stage
            values[name if plain else f"{stage}/{name}"] = value
        if body.get("unit") == STAGE:
            values[f"seconds/{stage}"] = body.get("seconds", 0.0)
        self._put(mirrored, values, int(body.get("step", 0)), moment)

    def _sampled(self, mirrored: _Mirrored, body: Mapping[str, Any], moment: int) -> None:
        """Under the names of MLflow's own system metrics, and those of the process beside them."""
        mega = 1e6
        used, total = body.get("machine_used_bytes"), body.get("machine_bytes")
        values: dict[str, float | None] = {
            "cpu_utilization_percentage": _times(100, body.get("machine_cpu")),
            "system_memory_usage_megabytes": _times(1 / mega, used),
            "system_memory_usage_percentage": 100 * used / total if used and total else None,
            "process_cpu_percentage": _times(100, body.get("cpu")),
            "process_memory_megabytes": _times(1 / mega, body.get("resident_bytes")),
        }
        for gpu in body.get("gpus", []):
            name = f"gpu_{gpu['number']}"
            values[f"{name}_utilization_percentage"] = _times(100, gpu["busy"])
            values[f"{name}_memory_usage_megabytes"] = gpu["used_bytes"] / mega
            values[f"{name}_memory_usage_percentage"] = 100 * gpu["used_bytes"] / gpu["total_bytes"]
        named = {f"system/{name}": value for name, value in values.items()}
        self._put(mirrored, named, mirrored.samples, moment)
        mirrored.samples += 1

    def _see(self, mirrored: _Mirrored, body: Mapping[str, Any]) -> None:
        entities = self._mlflow.entities
        source_type, source = _source(body)
        columns = [
            {"type": _TYPES.get(kind, "datetime" if kind.startswith("timestamp") else "string"), "name": name}
            for name, kind in body.get("schema", {}).items()
        ]
        profile = {"num_rows": body.get("rows"), "num_elements": None, "fingerprint": body.get("fingerprint")}
        dataset = entities.Dataset(
            name=Path(str(body.get("uri") or body.get("kind") or "rows")).name[:500],
            digest=str(body.get("fingerprint"))[:36],
            source_type=source_type,
            source=json.dumps(source),
            schema=json.dumps({"mlflow_colspec": columns}),
            profile=json.dumps({name: value for name, value in profile.items() if value is not None}),
        )
        context = entities.InputTag("mlflow.data.context", str(body.get("role", "training")))
        self.client.log_inputs(mirrored.run_id, datasets=[entities.DatasetInput(dataset, [context])])

    def _end(self, run: str, mirrored: _Mirrored, body: Mapping[str, Any], moment: int) -> None:
        run_id = mirrored.run_id
        best = body.get("best") or {}
        self._parameters(run_id, {**body.get("parameters", {}), **best.get("parameters", {})})
        curves = mirrored.stages
        metrics = {name: value for name, value in body.get("metrics", {}).items() if name not in curves}
        metrics |= {f"baseline/{name}": value for name, value in body.get("baseline", {}).items()}
        facts = {"seconds": body.get("seconds"), "peak_memory_megabytes": _times(1e-6, body.get("memory"))}
        self._put(mirrored, {**metrics, **facts}, 0, moment)
        self.flush()
        tags = {"outgrow.model": body.get("model")}
        if body.get("error"):
            tags["outgrow.error"] = f"{body['error']['type']}: {body['error']['message']}"
        self._tag(run_id, {name: value for name, value in tags.items() if value})
        if body.get("trials"):
            self._search(run, mirrored, body, moment)
        artifacts = body.get("artifacts") or {}
        report = Path(artifacts.get("folder", "")) / "report.html"
        if artifacts and report.is_file():
            self.client.log_artifact(run_id, str(report))
        log_model = self.models.pop(run, None)
        if log_model is not None:
            log_model(run_id=run_id, model_id=self._place_of_model(run_id))
        if not mirrored.adopted:
            self.client.set_terminated(run_id, _STATES.get(str(body.get("state")), "FAILED"), moment)

    def _place_of_model(self, run_id: str) -> str:
        """The id of a model of a run, which belongs to the experiment of that: MLflow itself would take the
        experiment that is set where the model is logged."""
        run = self.client.get_run(run_id)
        made = self.client.create_logged_model(
            run.info.experiment_id, name=MODEL_NAME, source_run_id=run_id, params=run.data.params
        )
        return str(made.model_id)

    def _search(self, run: str, mirrored: _Mirrored, body: Mapping[str, Any], moment: int) -> None:
        """The trials as a table, and as child runs those that are wanted."""
        trials = body["trials"]
        names = list(dict.fromkeys(name for trial in trials for name in trial))
        table = {name: [trial.get(name) for trial in trials] for name in names}
        self.client.log_dict(
            mirrored.run_id,
            {"columns": names, "data": [list(row) for row in zip(*table.values(), strict=True)]},
            "trials.json",
        )
        metrics = set((body.get("best") or {}).get("metrics", {}))
        if self._trials == "table" or not metrics:
            return
        parameters = (body.get("best") or {}).get("parameters", {})
        best = [trial for trial in trials if all(trial.get(k) == v for k, v in parameters.items())][:1]
        chosen = trials if self._trials == "all" else best
        there = self.find([f"{run}-{trial['trial']}" for trial in chosen])
        for trial in chosen:
            name = f"{run}-{trial['trial']}"
            if name not in there:
                self._trial(name, mirrored, trial, metrics, moment)

    def _trial(
        self, name: str, parent: _Mirrored, trial: Mapping[str, Any], metrics: set[str], moment: int
    ) -> None:
        tags = {ID: name, "mlflow.parentRunId": parent.run_id, "outgrow.kind": "trial"}
        child = self.client.create_run(
            self.experiment, parent.began, tags, run_name=f"trial {trial['trial']}"
        ).info.run_id
        others = {k: v for k, v in trial.items() if k not in metrics | _OF_A_TRIAL and v is not None}
        self._parameters(child, others)
        values = {k: trial[k] for k in (*metrics, "seconds") if trial.get(k) is not None}
        self._put(_Mirrored(child, moment), values, 0, moment)
        self.flush()
        state = {"complete": "FINISHED", "pruned": "KILLED"}.get(str(trial.get("state")), "FAILED")
        self.client.set_terminated(child, state, moment)

    def _parameters(self, run_id: str, values: Mapping[str, Any]) -> None:
        param = self._mlflow.entities.Param
        listed = [param(_key(k), shown(v)[:_LONGEST_PARAMETER]) for k, v in values.items()]
        for start in range(0, len(listed), _PARAMETERS):
            self.client.log_batch(run_id, params=listed[start : start + _PARAMETERS])

    def _tag(self, run_id: str, tags: Mapping[str, Any]) -> None:
        tag = self._mlflow.entities.RunTag
        listed = [tag(_key(name), str(value)[:_LONGEST_TAG]) for name, value in tags.items()]
        for start in range(0, len(listed), _TAGS):
            self.client.log_batch(run_id, tags=listed[start : start + _TAGS])

    def _put(self, mirrored: _Mirrored, values: Mapping[str, Any], step: int, moment: int) -> None:
        metric = self._mlflow.entities.Metric
        points = [
            metric(_key(name), float(value), moment, step)
            for name, value in values.items()
            if isinstance(value, int | float)
        ]
        self._metrics.setdefault(mirrored.run_id, []).extend(points)


def _key(name: str) -> str:
    """A name with the characters that MLflow allows."""
    return _NOT_ALLOWED.sub("_", name)[:250]


def _times(factor: float, value: float | None) -> float | None:
    return None if value is None else factor * value


def _source(body: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """Where rows come from, as MLflow names such sources."""
    if body.get("kind") == "delta":
        return "delta_table", {"path": body.get("uri"), "delta_table_version": body.get("version")}
    if body.get("uri"):
        return "local", {"uri": body["uri"]}
    return "code", {"tags": {"mlflow.source.type": "LOCAL", "mlflow.source.name": "memory"}}
