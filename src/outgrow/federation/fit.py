"""Learning a model over sites that keep their rows, tried out on this machine."""

from __future__ import annotations

import os
import secrets
import tempfile
from collections.abc import Collection, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from sklearn.base import clone

from outgrow.engine.dataset import Dataset
from outgrow.engine.handshake import listening
from outgrow.engine.local import Local
from outgrow.engine.open import dataset, is_table
from outgrow.engine.ranks.meeting import loopback
from outgrow.engine.reading import read
from outgrow.errors import ParameterError
from outgrow.federation.coordinate import FederatedResult, check_names, check_quorum, coordinate
from outgrow.federation.masks import threshold
from outgrow.federation.policy import Policy
from outgrow.federation.processes import SiteProcesses
from outgrow.federation.site import DEADLINE, JOINING, PATIENCE, Task, check_waits
from outgrow.ml.core.estimator import Estimator
from outgrow.storage import disk_errors


def federated(
    model: Any,
    sites: Mapping[str, Any] | Sequence[Any],
    target: str | None = None,
    *,
    sample_weight: str | None = None,
    roles: Mapping[str, str] | None = None,
    allow_values: bool | Collection[str] = False,
    least_rows: int = 10,
    secure: bool = False,
    audit: str | os.PathLike[str] | None = None,
    joining: float = JOINING,
    deadline: float = DEADLINE,
    patience: float = PATIENCE,
    quorum: float = 1.0,
) -> FederatedResult:
    """Fit a model over sites that keep their rows, each a process of this machine.

    A site sends the statistics of its passes over its rows, such as sums and moments, to this process, which
    merges them; so the model is that of all rows together, up to rounding. What would send rows is refused.
    For sites on other hosts there are `outgrow federate server` and `outgrow federate site`, which do the
    same.

    Parameters
    ----------
    model : an estimator or pipeline; it stays as it is.
    sites : the rows of each site by its name, or a list of those, which are then called site-1, site-2, ...:
        paths, tables, or datasets. All have the same columns of the same types.
    target, sample_weight : names of columns.
    roles : further columns that the model learns from, by their role, as its `fit` takes them.
    allow_values : what else than sums and moments may leave a site: values of columns as they are in rows,
        such as categories, extremes and quantiles. True for all of these, or names of states, as the error
        says that refuses them. Rows never leave.
    least_rows : a site with fewer rows is refused: sums of a few rows are nearly the rows.
    secure : sites send their statistics behind masks, which cancel in the sum over all sites: this process
        sees that sum, and of a site its rows and the classes it has (Bonawitz et al. 2017); so there are no
        metrics or drift of sites. At least 3 sites, four messages for each merge, 32 bytes for each number,
        and only estimators whose passes are sums. Needs the extra `federated`.
    audit : a folder in which each site writes `<site>.jsonl`: what left it, by name, shape and bytes.
    joining : seconds within which all sites must be there.
    deadline : seconds of silence after which a site is taken for lost.
    patience : seconds within which all sites must finish a pass.
    quorum : the share of the sites with which rounds of `og.FedAvg` go on when the rest is gone, or late by
        more than `patience`. A site that is late hears what came of the rounds it missed and joins again; its
        audit log says 'too late'. The result names both in `missed`. Everything else needs all sites.

    Returns
    -------
    FederatedResult
        With the fitted `model`, and how it does at each site.

    Raises
    ------
    PrivacyError
        When the fit would have a site send what may not leave it; nothing of that was sent.
    RankLostError
        When a site is gone or stands still; it names it.

    Notes
    -----
    Unlike Flower's `ServerApp` and `ClientApp`: no averaging of models that each site fitted for itself, but
    the fit itself over all sites, so that a linear model is the same as of the rows in one place.

    Examples
    --------
    >>> import numpy as np, pyarrow as pa, outgrow as og
    >>> random = np.random.default_rng(0)
    >>> X = random.normal(size=(200, 2))
    >>> rows = pa.table({"age": X[:, 0], "dose": X[:, 1], "effect": X @ [1.0, 2.0]})
    >>> sites = {"north": rows[:120], "south": rows[120:]}
    >>> result = og.federated(og.LinearRegression(), sites, "effect")
    >>> result.model.coef_.round(6).tolist()
    [1.0, 2.0]
    >>> {name: site["rows"] for name, site in result.sites.items()}
    {'north': 120, 'south': 80}
    """
    _check_model(model)
    check_waits(joining=joining, deadline=deadline, patience=patience)
    policy = Policy(allow_values, least_rows)
    named = {name: _rows(rows, name) for name, rows in _named(sites).items()}
    check_names(named)
    check_quorum(quorum, secure=secure)
    if secure:
        threshold(len(named))
    folder = None if audit is None else _made(Path(audit), named)
    task = Task(clone(model), target, sample_weight, dict(roles or {}))
    secret, listener = secrets.token_bytes(32), listening(loopback(), 0)
    settings = {"joining": joining, "deadline": deadline, "secure": secure}
    with (
        closing(listener),
        SiteProcesses(
            task,
            named,
            tempfile.gettempdir(),
            listener.getsockname()[:2],
            secret,
            policy,
            folder,
            settings,
        ) as processes,
    ):
        return coordinate(
            task,
            list(named),
            listener,
            secret,
            joining=joining,
            deadline=deadline,
            patience=patience,
            look=processes.look,
            secure=secure,
            quorum=quorum,
        )


def _named(sites: Mapping[str, Any] | Sequence[Any]) -> Mapping[str, Any]:
    if isinstance(sites, Mapping):
        return sites
    if isinstance(sites, str) or is_table(sites):
        raise ParameterError("sites: give the rows of several sites, as a list or by name.")
    return {f"site-{number}": rows for number, rows in enumerate(sites, start=1)}


def _rows(rows: Any, name: str) -> Dataset:
    if isinstance(rows, str | os.PathLike):
        return read(rows)
    if not is_table(rows):
        raise ParameterError(
            f"Site {name!r}: give a path, a table or a dataset, not a {type(rows).__name__}."
        )
    opened = dataset(rows)
    if not isinstance(opened.engine, Local):
        raise ParameterError(f"Site {name!r}: its rows are on {opened.engine!r}; a site is a process here.")
    return opened


def _check_model(model: Any) -> None:
    if not isinstance(model, Estimator):
        raise ParameterError(
            f"model={model!r}: an estimator or a pipeline of outgrow, such as og.LogisticRegression(). Those "
            "of other libraries want all rows in one place."
        )


def _made(folder: Path, names: Collection[str]) -> Path:
    wrong = [name for name in names if os.path.basename(name) != name or name in (os.curdir, os.pardir)]
    if wrong:
        raise ParameterError(f"sites={wrong}: audit has a file for each name, so a name has no / in it.")
    if folder.exists() and not folder.is_dir():
        raise ParameterError(f"audit={str(folder)!r} is no folder. Give one, or the path of a new one.")
    with disk_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
    return folder
