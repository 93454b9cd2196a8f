"""What a site does: reach the coordinator, learn with the others, and say how the model does on its rows."""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from outgrow._settings import is_real
from outgrow.data.batch import Batch
from outgrow.engine.dataset import Dataset
from outgrow.engine.frames import Message
from outgrow.engine.local import Local
from outgrow.engine.shard import Shard
from outgrow.errors import OutgrowError, ParameterError
from outgrow.federation.audit import AuditLog, message_bytes
from outgrow.federation.engine import FederatedEngine
from outgrow.federation.meeting import reach
from outgrow.federation.policy import Policy, described
from outgrow.federation.star import SiteLink
from outgrow.federation.tls import Tls
from outgrow.ml.core.columns import numeric, resolve
from outgrow.stats.moments import Moments

JOINING, DEADLINE, PATIENCE = 600.0, 60.0, 3600.0
"""Seconds within which all must come; of silence after which one is lost; and for all to finish a pass."""


@dataclass(frozen=True)
class Task:
    """What is learned, which all ends must say alike.

    Attributes
    ----------
    model : an estimator, not fitted.
    target, weight : names of columns; None where there is none.
    roles : further columns that the model learns from, by their role.
    """

    model: Any
    target: str | None = None
    weight: str | None = None
    roles: Mapping[str, str] = field(default_factory=dict)

    def fit(self, rows: Dataset) -> None:
        """Fit the model."""
        given: dict[str, Any] = dict(self.roles)
        if self.weight is not None:
            given["sample_weight"] = self.weight
        self.model.fit(rows, self.target, **given)

    def evaluate(self, rows: Dataset) -> dict[str, float]:
        """The metrics of the fitted model on rows of this process; none where it has none."""
        if self.target is None or not hasattr(self.model, "evaluate"):
            return {}
        scores = self.model.evaluate(rows, self.target, sample_weight=self.weight, **self.roles)
        return {name: float(value) for name, value in scores.items()}


def take_part(
    task: Task,
    rows: Dataset,
    name: str,
    address: tuple[str, int],
    secret: bytes,
    *,
    policy: Policy | None = None,
    audit: str | os.PathLike[str] | None = None,
    judged: Dataset | None = None,
    tls: Tls | None = None,
    secure: bool = False,
    joining: float = JOINING,
    deadline: float = DEADLINE,
) -> Any:
    """Learn a model together with other sites; the rows stay here.

    Parameters
    ----------
    task : what is learned.
    rows : of this site.
    name : of this site, as the coordinator expects it.
    address : host and port of the coordinator.
    secret : what all ends know.
    policy : what may leave this site.
    audit : the file to which a line is appended for each message that does.
    judged : rows of this site on which the model is evaluated; by default those it learns from.
    tls : the certificates with which the connection is encrypted; None for none.
    secure : send statistics behind masks only, so that the coordinator sees nothing but their sums, and say
        nothing of how the model does here.
    joining : seconds within which the coordinator and all sites must be there.
    deadline : seconds of silence after which the coordinator is taken for lost.

    Returns
    -------
    The fitted model.
    """
    check_waits(joining=joining, deadline=deadline)
    policy, local = policy or Policy(), Local()
    count = rows.count()
    policy.check_rows(count)
    log = AuditLog(audit)
    schema = rows.schema.remove_metadata()
    names = described("names and types of columns", schema.names)

    def note(introduction: Message) -> None:
        log.note("introduction", 0, "joining", message_bytes(introduction), [names])

    line, welcome = reach(
        address, secret, name, schema.serialize().to_pybytes(), joining, tls, secure=secure, note=note
    )
    link = SiteLink(line, welcome.rank, welcome.size, name, policy, log, deadline, secure=secure)
    try:
        task.fit(Dataset(rows.scan, FederatedEngine(link, local)))
        about = {} if secure else _report(task, rows, rows if judged is None else judged, link)
        link.stage = "report"
        link.report({"rows": count, **about})
    except BaseException as error:
        link.abort(error)
        raise
    finally:
        link.close()
    return task.model


def check_waits(**waits: float) -> None:
    """Refuse seconds to wait that are none.

    Parameters
    ----------
    **waits : by the names that messages call them.
    """
    wrong = {name: seconds for name, seconds in waits.items() if not (is_real(seconds) and seconds > 0)}
    for name, seconds in wrong.items():
        raise ParameterError(f"{name}={seconds!r}: seconds, above 0.")


def _report(task: Task, rows: Dataset, judged: Dataset, link: SiteLink) -> dict[str, Any]:
    here = Dataset(rows.scan, Local())
    names = drift_columns(here)
    pooled = pooled_moments(Dataset(rows.scan, FederatedEngine(link)), names)
    return {
        "metrics": metrics_here(task, judged),
        "drift": _drift(pooled, pooled_moments(here, names), names),
    }


def metrics_here(task: Task, judged: Dataset) -> dict[str, float]:
    """How the model does here; nothing where it cannot be told, for which no site shall lose the model.

    Parameters
    ----------
    task : with the fitted model.
    judged : rows of this site.
    """
    try:
        return task.evaluate(judged)
    except OutgrowError as error:
        warnings.warn(
            f"The model is learned, and could not be evaluated on the rows of this site: {error} Its metrics "
            "are missing in the result; give its test part more rows.",
            stacklevel=2,
        )
        return {}


def drift_columns(rows: Dataset) -> list[str]:
    """The columns of numbers, whose means sites compare."""
    return resolve(numeric(), rows.scan.example(), rows.columns)


def pooled_moments(rows: Dataset, names: list[str]) -> Moments:
    """The moments of columns over all ranks of the engine of these rows.

    Parameters
    ----------
    rows : the dataset.
    names : of columns of numbers.
    """

    def fold(batch: Batch) -> Moments:
        return Moments.of(batch.matrix(names))

    def moments(shard: Shard) -> list[np.ndarray]:
        pooled = shard.reduce(fold)
        return [pooled.n, pooled.mean, pooled.m2]

    return Moments(*rows.engine.fit(moments, rows.scan, stage="drift", keep=False).result)


def _drift(pooled: Moments, here: Moments, names: list[str]) -> dict[str, float]:
    """How far the means of this site are from those of all, in standard deviations of all."""
    with np.errstate(divide="ignore", invalid="ignore"):
        spread = np.sqrt(pooled.m2 / pooled.n)
        away = np.where(spread > 0, (here.mean - pooled.mean) / spread, 0.0)
    return {name: round(float(value), 6) for name, value in zip(names, np.nan_to_num(away), strict=True)}
