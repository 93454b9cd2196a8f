"""`python -m bench ensembles`: what it costs that each rank or site learns a model of its own.

Flights of five carriers. Members learn from rows that were dealt by their hashes, and so are alike, or each
from the flights of a carrier, which are not; beside them the models of all rows, in one place and over sites.
"""

from __future__ import annotations

import runpy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
from sklearn.base import clone

import outgrow as og
from bench.machine import machine

ROWS = 6_000
RESULTS = Path(__file__).parent / "results" / "ensembles.md"
MODELS = {
    "logistic regression": og.Pipeline([og.StandardScaler(), og.LogisticRegression()]),
    "forest of 30": og.RandomForestClassifier(n_estimators=30, min_samples_leaf=5),
    "boosting, 30 rounds": og.HistGradientBoostingClassifier(max_iter=30, early_stopping=False),
}
EXACT = ("logistic regression", "boosting, 30 rounds")


def main() -> None:
    """Write the table."""
    lines = []
    for line in measured():
        print(line, flush=True)
        lines.append(line)
    head = "| model | who learns | loss | accuracy | MB a site sent |\n|---|---|---|---|---|"
    about = ", ".join(f"{key} {value}" for key, value in machine().items())
    parts = ["# Models of each rank", str(__doc__).strip(), about, "\n".join([head, *lines])]
    RESULTS.write_text("\n\n".join(parts) + "\n")


def measured() -> Iterator[str]:
    """The lines of the table, one after the other."""
    path = Path(__file__).parents[1] / "examples" / "federated" / "flights_by_carrier.py"
    flights = runpy.run_path(str(path))["flights"](rows=ROWS * 5 // 4)
    sites, judged = {}, []
    for name, part in flights.items():
        part = part.sample(frac=1.0, random_state=0)
        sites[name], rest = part[: len(part) * 4 // 5], part[len(part) * 4 // 5 :]
        judged.append(rest)
    train, test = pd.concat(sites.values(), ignore_index=True), pd.concat(judged, ignore_index=True)
    for name, model in MODELS.items():
        yield _line(name, "all rows in one place", clone(model).fit(train, "late"), test)
        if name in EXACT:
            yield _federated(name, "all sites, exactly", model, sites, test)
        for members in (5, 50):
            ensemble = og.GossipEnsemble(clone(model), members=members)
            yield _line(name, f"{members} members of dealt rows", ensemble.fit(train, "late"), test)
        for combine in ("average", "stack"):
            ensemble = og.GossipEnsemble(clone(model), combine=combine)
            yield _federated(name, f"each carrier, {combine}", ensemble, sites, test)


def _federated(name: str, who: str, model: Any, sites: dict[str, Any], test: pd.DataFrame) -> str:
    result = og.federated(model, sites, "late", allow_values=["SiteModels"])
    sent = max(site["sent_bytes"] for site in result.sites.values())
    return _line(name, who, result.model, test, f"{sent / 1e6:.2f}")


def _line(name: str, who: str, model: Any, test: pd.DataFrame, sent: str = "") -> str:
    scores = model.evaluate(test, "late")
    return f"| {name} | {who} | {scores['log_loss']:.4f} | {scores['accuracy']:.4f} | {sent} |"
