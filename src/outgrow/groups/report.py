"""A page about the models of all groups."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from outgrow._version import __version__
from outgrow.groups.backtest import Backtest
from outgrow.groups.separate import FAILED, TOO_FEW
from outgrow.groups.summary import WORST, ranked_by, worst_first
from outgrow.page import plots
from outgrow.page.format import metric_name
from outgrow.page.render import Plot, plot, render
from outgrow.storage import write_file

_TEMPLATES = Path(__file__).parent / "templates"
_WORST_SHOWN, _FAILED_SHOWN = 20, 20


def write_report(
    model: Any, path: str | os.PathLike[str], backtest: Backtest | None, *, overwrite: bool
) -> None:
    """See `PerGroup.report`.

    Parameters
    ----------
    model : a fitted `PerGroup`.
    path : the HTML file to write.
    backtest : whose metrics are shown; None for those on the rows learned from.
    overwrite : replace a file that exists.
    """
    write_file(path, groups_report(model, backtest).encode(), overwrite=overwrite)


def groups_report(model: Any, backtest: Backtest | None) -> str:
    """The report as one HTML page that needs no network.

    Parameters
    ----------
    model : a fitted `PerGroup`.
    backtest : whose metrics are shown, the mean over its folds; None for those on the rows learned from.
    """
    groups, keys = model.groups_, list(model._keys)
    scored = groups if backtest is None else _over_folds(backtest, keys)
    metric = ranked_by(scored)
    ranked = scored.slice(0, 0) if metric is None else worst_first(scored, metric)
    summary = model.summary()
    return render(
        _TEMPLATES,
        "groups.html.j2",
        title=f"{groups.num_rows:,} models",
        estimator=type(model.estimator).__name__,
        keys=keys,
        basis=_basis(backtest),
        groups=groups.num_rows,
        rows=int(pc.sum(groups["rows"]).as_py()),
        counts=summary.counts,
        metric=metric if ranked.num_rows else None,
        metrics=[name for name in WORST if name in scored.column_names],
        middle=float(np.median(ranked[metric].to_numpy())) if ranked.num_rows else None,
        plots=_plots(ranked, metric),
        worst=ranked.slice(0, _WORST_SHOWN).to_pylist(),
        folds=[] if backtest is None else backtest.folds.to_pylist(),
        failed=_with(groups, FAILED).slice(0, _FAILED_SHOWN).to_pylist(),
        few=_with(groups, TOO_FEW).num_rows,
        min_rows=model.min_rows,
        libraries={"outgrow": __version__},
        began=datetime.now(UTC),
    )


def _basis(backtest: Backtest | None) -> str:
    if backtest is None:
        return "Metrics are those on the rows learned from; a backtest says more."
    return f"Metrics are those of {backtest.folds.num_rows} folds on rows that came later."


def _over_folds(backtest: Backtest, keys: list[str]) -> pa.Table:
    """The mean of each group's metrics over the folds, and its rows in all of them."""
    names = [name for name in WORST if name in backtest.groups.column_names]
    positions = [
        str(position) for position in range(len(keys))
    ]  # Arrow reads names that begin with a dot as paths
    groups = backtest.groups.select([*keys, "rows", *names]).rename_columns([*positions, "rows", *names])
    means = groups.group_by(positions, use_threads=False).aggregate(
        [("rows", "sum"), *((name, "mean") for name in names)]
    )
    return means.select([*positions, "rows_sum", *(f"{name}_mean" for name in names)]).rename_columns(
        [*keys, "rows", *names]
    )


def _plots(ranked: pa.Table, metric: str | None) -> list[Plot]:
    if metric is None or not ranked.num_rows:
        return []
    plots_ = []
    for name in (name for name in WORST if name in ranked.column_names):
        values = ranked[name].drop_null().to_numpy()
        if len(values):
            title = metric_name(name)
            caption = "From the 1st to the 99th percentile; the ends hold what lies beyond. Line: the median."
            plots_.append(plot(title, caption, plots.histogram(values, title, name=f"groups-{name}")))
    svg = plots.against_size(ranked["rows"].to_numpy(), ranked[metric].to_numpy(), metric_name(metric))
    return [*plots_, plot(f"{metric_name(metric)} and size", "Each dot is a group.", svg)]


def _with(groups: pa.Table, status: str) -> pa.Table:
    return groups.filter(pc.equal(groups["status"], status))
