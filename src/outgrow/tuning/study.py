"""The memory of a search: an Optuna study that survives its driver, through public ask and tell alone."""

from __future__ import annotations

import fcntl
import itertools
import json
import os
import threading
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
from optuna.exceptions import ExperimentalWarning
from optuna.pruners import BasePruner, HyperbandPruner, MedianPruner, NopPruner, SuccessiveHalvingPruner
from optuna.samplers import (
    BaseSampler,
    BruteForceSampler,
    CmaEsSampler,
    GridSampler,
    NSGAIISampler,
    RandomSampler,
    TPESampler,
)
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, Trial, TrialState

from outgrow.errors import OutgrowError, ParameterError, StudyError, TornJournalWarning
from outgrow.storage import disk_errors
from outgrow.tuning.space import Space

ROW_SHARES = {1: 1 / 9, 3: 1 / 3, 9: 1.0}
"""The share of the rows that a trial has learned from when a pruner looks at its score, by step."""
MAX_RETRIES = 2
"""How often a trial whose worker was lost is tried again."""
_IDENTITY, _PARAMETERS, _ERROR, _RETRY = (
    "outgrow:study",
    "outgrow:parameters",
    "outgrow:error",
    "outgrow:retry",
)
_DETAILS = "outgrow:details"
_JOURNAL = b'{"op_code":'
"""What every line of a journal begins with."""
SAMPLERS = ("tpe", "random", "grid", "cmaes", "evolutionary")
PRUNERS = ("none", "median", "asha", "hyperband")


@dataclass
class RunningTrial:
    """A trial that is under way."""

    trial: Trial
    parameters: dict[str, Any]

    @property
    def number(self) -> int:
        return self.trial.number


class Study:
    """A search that goes on where it was.

    Parameters
    ----------
    storage : a file for the journal, a storage URL that Optuna knows, or None for memory.
    space : what may be chosen.
    directions : of each metric.
    identity : what tells this search from others, beside its space.
    """

    def __init__(
        self,
        storage: str | os.PathLike[str] | None,
        space: Space,
        directions: Sequence[Any],
        *,
        sampler: str | BaseSampler,
        pruner: str | BasePruner,
        seed: int | None,
        identity: Mapping[str, Any],
    ) -> None:
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self.space = space
        if sampler == "grid":
            space.grid()  # refused before anything is stored
        self._lock: int | None = None
        chosen, stop = _sampler(sampler, seed), _pruner(pruner, len(directions))
        self.prunes = not isinstance(stop, NopPruner)
        with _opening(storage):
            self.study = optuna.create_study(
                storage=self._storage(storage),
                study_name="outgrow",
                directions=list(directions),
                sampler=chosen,
                pruner=stop,
                load_if_exists=True,
            )
        self._check({"space": space.describe(), "directions": list(directions), **identity})
        self._take_up()
        if sampler == "grid":
            self._plan_grid()

    def ask(self) -> RunningTrial:
        """The next trial: one that was lost, or a new one."""
        trial = self.study.ask()
        parameters = self.space.suggest(trial)
        trial.set_user_attr(_PARAMETERS, parameters)
        return RunningTrial(trial, parameters)

    def tell(self, running: RunningTrial, values: Sequence[float], details: Mapping[str, Any]) -> None:
        """A trial is done.

        Parameters
        ----------
        running : as `ask` gave it.
        values : of the metrics, in the order of the directions; all finite.
        details : what else is noted of the trial; of types that JSON has.
        """
        running.trial.set_user_attr(_DETAILS, dict(details))
        self.study.tell(running.trial, list(values))

    def prune(self, running: RunningTrial, details: Mapping[str, Any]) -> None:
        """A trial was stopped for its poor outlook.

        Parameters
        ----------
        running : as `ask` gave it.
        details : what is noted of the trial; of types that JSON has.
        """
        running.trial.set_user_attr(_DETAILS, dict(details))
        self.study.tell(running.trial, state=TrialState.PRUNED)

    def fail(self, running: RunningTrial, error: str) -> None:
        """A trial failed by its own fault, and is not tried again; the study goes on.

        Parameters
        ----------
        running : as `ask` gave it.
        error : what a person should read, kept with the trial.
        """
        running.trial.set_user_attr(_ERROR, error)
        self.study.tell(running.trial, state=TrialState.FAIL)

    def lose(self, running: RunningTrial, reason: str) -> bool:
        """The worker of a trial is gone.

        Parameters
        ----------
        running : as `ask` gave it.
        reason : a sentence, kept as the error of a trial that was lost too often.

        Returns
        -------
        Whether the trial will be tried again: at most `MAX_RETRIES` times.
        """
        retry = running.trial.user_attrs.get(_RETRY, 0)
        if retry >= MAX_RETRIES:
            self.fail(running, f"{reason} It was tried {retry + 1} times.")
            return False
        self.study.tell(running.trial, state=TrialState.FAIL)
        self._enqueue(running.trial.params, retry + 1)
        return True

    def report(self, running: RunningTrial, value: float, step: int) -> bool:
        """Note how a trial does so far.

        Parameters
        ----------
        running : as `ask` gave it.
        value : of the first metric.
        step : how far the trial is; a pruner compares trials at the same step.

        Returns
        -------
        Whether the trial should stop.
        """
        running.trial.report(value, step)
        return bool(running.trial.should_prune())

    @property
    def finished(self) -> list[FrozenTrial]:
        """The trials that were done, pruned or failed for good, in their order."""
        trials = self.study.get_trials(deepcopy=False)
        return [trial for trial in trials if trial.state.is_finished() and not _was_lost(trial)]

    def close(self) -> None:
        """Let another process have the study."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    # ---- storage -----------------------------------------------------------------------------------------

    def _storage(self, storage: str | os.PathLike[str] | None) -> Any:
        if storage is None or "://" in str(storage):
            return storage
        path = Path(storage)
        if path.is_dir():
            raise StudyError(f"{path} is a folder. A study is one file: name one in it.")
        with disk_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            self._lock = _locked(path)
            _drop_torn_line(path)
            return JournalStorage(_Journal(path))

    def _check(self, identity: Mapping[str, Any]) -> None:
        """The study was begun with the same space and the same question."""
        known = self.study.user_attrs.get(_IDENTITY)
        now = json.loads(json.dumps(identity, sort_keys=True, default=str))
        if known is None:
            self.study.set_user_attr(_IDENTITY, now)
            return
        changed = [name for name in now if known.get(name) != now[name]]
        if changed:
            name = changed[0]
            self.close()
            raise StudyError(
                f"The study was begun with another {name}:\n  then {_short(known.get(name))}\n  now  "
                f"{_short(now[name])}\nContinue with what it had, or choose another study."
            )

    def _take_up(self) -> None:
        """Trials that a driver which is gone left running are tried again."""
        for trial in self.study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
            retry = trial.user_attrs.get(_RETRY, 0)
            with suppress(ValueError):  # another process has ended it meanwhile
                self.study.tell(trial.number, state=TrialState.FAIL)
            if _PARAMETERS in trial.user_attrs and retry < MAX_RETRIES:
                self._enqueue(trial.params, retry + 1)

    def _plan_grid(self) -> None:
        """Every combination waits to be tried; those of an earlier run are known."""
        grid = self.space.grid()
        for values in itertools.product(*grid.values()):
            self.study.enqueue_trial(dict(zip(grid, values, strict=True)), skip_if_exists=True)

    def _enqueue(self, parameters: Mapping[str, Any], retry: int) -> None:
        self.study.enqueue_trial(dict(parameters), user_attrs={_RETRY: retry})


def forget(path: Path) -> None:
    """Remove a study's journal, unless a process works on it.

    Raises
    ------
    StudyError
        When one does.
    """
    lock = _locked(path)
    path.unlink(missing_ok=True)
    os.close(lock)


def _locked(path: Path) -> int:
    """The lock of the only process that works on a study."""
    lock = os.open(f"{path}.driver", os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        raise StudyError(
            f"Another process works on the study {path}. Wait for it, or choose another."
        ) from None
    return lock


@contextmanager
def _opening(storage: str | os.PathLike[str] | None) -> Iterator[None]:
    """What a journal, or a database and its driver, say; without the URL, which may hold a password."""
    try:
        yield
    except OutgrowError:
        raise
    except Exception as error:  # each driver has errors of its own
        kind, is_url, rest = str(storage).partition("://")
        text = (str(error).splitlines() or [type(error).__name__])[0].replace(rest or "\0", "...")
        raise StudyError(
            f"The study {kind}{is_url and '://...'} cannot be opened: {text}. Choose another."
        ) from error


def _drop_torn_line(path: Path) -> None:
    """Drop the last line of a journal whose process was killed, or whose disk was full, while it wrote it.

    Raises
    ------
    StudyError
        When the file is no journal.
    """
    if not path.exists():
        return
    body = path.read_bytes()
    if not body[: len(_JOURNAL)] == _JOURNAL[: len(body)]:
        raise StudyError(f"{path} is there and is no journal of a search. Choose another file.")
    *lines, rest = body.split(b"\n")
    whole = len(lines)
    if lines and not _is_json(lines[-1]):
        whole -= 1
    if whole == len(lines) and not rest:
        return
    os.truncate(path, sum(len(line) + 1 for line in lines[:whole]))
    warnings.warn(
        f"The last line of the study {path} was cut off, and is dropped: its trial is tried again.",
        TornJournalWarning,
        stacklevel=2,
    )


def _is_json(line: bytes) -> bool:
    try:
        json.loads(line)
    except ValueError:
        return False
    return True


class _Journal(JournalFileBackend):
    """A journal that a full disk leaves as it was."""

    def __init__(self, path: Path) -> None:
        super().__init__(str(path), lock_obj=_ThreadLock())  # type: ignore[arg-type]
        self._path = path

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        size = self._path.stat().st_size
        with disk_errors(self._path):
            try:
                super().append_logs(logs)
            except OSError:
                os.truncate(self._path, size)
                raise


class _ThreadLock:
    """The lock of a journal that no other process writes, as this one holds a lock that a kill releases."""

    def __init__(self) -> None:
        self._lock = threading.Lock()

    def acquire(self) -> bool:
        return self._lock.acquire()

    def release(self) -> None:
        self._lock.release()


def best_first(study: optuna.study.Study) -> list[FrozenTrial]:
    """The trials that are done, by the first metric."""
    done = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    smaller = study.directions[0] == optuna.study.StudyDirection.MINIMIZE
    return sorted(done, key=lambda trial: trial.values[0], reverse=not smaller)


def parameters_of(trial: FrozenTrial) -> dict[str, Any]:
    """What a trial chose."""
    parameters: dict[str, Any] = trial.user_attrs.get(_PARAMETERS, trial.params)
    return parameters


def details_of(trial: FrozenTrial) -> dict[str, Any]:
    """What was noted of a trial beside its values."""
    details: dict[str, Any] = trial.user_attrs.get(_DETAILS, {})
    return details


def error_of(trial: FrozenTrial) -> str | None:
    """Why a trial failed."""
    error: str | None = trial.user_attrs.get(_ERROR)
    return error


def row_of(trial: FrozenTrial, metrics: Sequence[str]) -> dict[str, Any]:
    """A trial as a row: number, state, metrics, parameters, seconds, and why it failed.

    Parameters
    ----------
    trial : of a study.
    metrics : the names of its values.
    """
    values = trial.values if trial.values else [None] * len(metrics)
    details = details_of(trial)
    return {
        "trial": trial.number,
        "state": trial.state.name.lower(),
        **dict(zip(metrics, values, strict=True)),
        **parameters_of(trial),
        "seconds": details.get("seconds"),
        "error": error_of(trial),
    }


def _was_lost(trial: FrozenTrial) -> bool:
    """Whether a trial failed with its worker or its driver, and so says nothing of its parameters."""
    return trial.state == TrialState.FAIL and _ERROR not in trial.user_attrs


def _sampler(sampler: str | BaseSampler, seed: int | None) -> BaseSampler:
    if isinstance(sampler, GridSampler | BruteForceSampler):  # both end the loop of study.optimize themselves
        raise ParameterError("Optuna's samplers of grids cannot be asked trial by trial. Use sampler='grid'.")
    if isinstance(sampler, BaseSampler):
        return sampler
    if sampler == "tpe":
        with warnings.catch_warnings():  # what Optuna 5 does by default, earlier releases call an experiment
            warnings.simplefilter("ignore", ExperimentalWarning)
            return TPESampler(seed=seed, constant_liar=True)
    if sampler in ("random", "grid"):
        return RandomSampler(seed=seed)
    if sampler == "cmaes":
        return CmaEsSampler(seed=seed)
    if sampler == "evolutionary":
        return NSGAIISampler(seed=seed)
    raise ParameterError(f"sampler={sampler!r} is not one of {list(SAMPLERS)}, nor a sampler of Optuna.")


def _pruner(pruner: str | BasePruner, objectives: int) -> BasePruner:
    if pruner == "none":
        return NopPruner()
    if objectives > 1:
        raise ParameterError(
            "A pruner compares one number, and there are several metrics. Use pruner='none'."
        )
    if isinstance(pruner, BasePruner):
        return pruner
    if pruner == "median":
        return MedianPruner(n_startup_trials=5)
    if pruner == "asha":
        return SuccessiveHalvingPruner(min_resource=1, reduction_factor=3)
    if pruner == "hyperband":
        return HyperbandPruner(min_resource=1, max_resource=max(ROW_SHARES), reduction_factor=3)
    raise ParameterError(f"pruner={pruner!r} is not one of {list(PRUNERS)}, nor a pruner of Optuna.")


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) < 400 else text[:400] + "..."
