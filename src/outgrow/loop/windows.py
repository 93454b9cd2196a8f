"""A window of rows against the reference that travels with the model."""

from __future__ import annotations

from typing import Any

from outgrow.errors import ParameterError
from outgrow.loop.decide import moment
from outgrow.loop.policy import DataWatch
from outgrow.loop.rows import LandedRows
from outgrow.loop.spans import shown
from outgrow.loop.view import CANNOT_SAY, DRIFT, OK
from outgrow.monitor.drift import Drift, drift

_SHOWN = 3


def data_finding(data: DataWatch, model: Any, version: int, rows: LandedRows, end: float) -> dict[str, Any]:
    """Whether the rows of a window drifted.

    Parameters
    ----------
    data : what counts.
    model, version : with its reference.
    rows : where rows land.
    end : of the window.
    """
    since = end - data.window
    when = f"{moment(since)} to {moment(end)}"
    window = rows.between(since, end)
    count = 0 if window is None else window.count()
    if window is None or count < data.least_rows:
        because = f"The window from {when} has {count:,} rows; {data.least_rows:,} are needed."
        return {"verdict": CANNOT_SAY, "because": because, "rows": count}
    if model.reference_ is None:
        raise ParameterError(
            f"watch.data: version {version} has no reference of the rows it learned from. Save it with "
            "model.save(path, reference=rows), train it with outgrow run, or do not watch the data."
        )
    columns = [name for name in model.columns_ if name in window.columns]
    effect = data.effect.model_dump(exclude_none=True)
    seen = drift(model, window.select(*columns), fdr=data.fdr, effect=effect)
    drifted = [name for name in seen.drifted if name in columns]
    facts = {"rows": count, "columns": drifted, "since": since, "until": end}
    text = f"Of {len(columns)} columns {len(drifted)} drifted in the {count:,} rows from {when}"
    if not drifted or len(drifted) <= data.share * len(columns):
        return {"verdict": OK, "because": f"{text}.", **facts}
    if data.seasonal is not None:
        season = rows.between(since - data.seasonal, end - data.seasonal)
        if season is not None and season.count() >= data.least_rows:
            again = drift(season.select(*columns), window.select(*columns), fdr=data.fdr, effect=effect)
            if not again.drifted:
                because = f"{text}; but they are as those {shown(data.seasonal)} before."
                return {"verdict": OK, "because": because, "kind": "periodic", **facts}
    return {"verdict": DRIFT, "because": f"{text}: {_reasons(seen, drifted)}", **facts}


def lasting_finding(
    data: DataWatch, model: Any, version: int, rows: LandedRows, end: float
) -> dict[str, Any]:
    """Whether as many windows in a row drifted as the policy asks for.

    Parameters
    ----------
    data, model, version, rows : as of `data_finding`.
    end : of the last of them.
    """
    finding = data_finding(data, model, version, rows, end)
    if finding["verdict"] != DRIFT:
        return finding
    for number in range(1, data.lasting):
        before = data_finding(data, model, version, rows, end - number * data.window)
        if before["verdict"] != DRIFT:
            because = f"{finding['because']} It lasts for {number} of {data.lasting} windows."
            return {**finding, "verdict": OK, "kind": "temporary", "because": because}
    return finding


def _reasons(seen: Drift, columns: list[str]) -> str:
    drifting = [f for f in seen.findings if f.verdict == DRIFT and f.column in columns and not f.slice]
    drifting.sort(key=lambda finding: -finding.share)
    return " ".join(f"{finding.column}: {finding.because}" for finding in drifting[:_SHOWN])
