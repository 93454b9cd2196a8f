"""`python -m bench tabular`: networks beside boosted trees on the flights, by what they say of new ones.

All have the rows of the flights job, the same split, and text as it is. Seconds are those of one fit.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import outgrow as og
from bench.machine import machine
from outgrow.job.engines import open_engine
from outgrow.job.load import load_job
from outgrow.job.tables import open_data
from outgrow.job.tuning import split

JOB = Path(__file__).parent.parent / "examples" / "flights" / "job.yaml"
RESULTS = Path(__file__).parent / "results" / "tabular.md"
COURSE = {"lr": 2e-3, "lr_schedule": "cosine", "warmup": 0.1, "random_state": 7}


def filled() -> Any:
    return og.SimpleImputer(columns=og.numeric(), strategy="median")


def bends() -> Any:
    """Each number as 24 parts that are linear between quantiles (Gorishniy, Rubachev and Babenko 2022)."""
    return og.SplineTransformer(columns=og.numeric(), n_knots=24, degree=1, knots="quantile")


CONTENDERS: dict[str, Callable[[], Any]] = {
    "logistic regression": lambda: og.Pipeline(
        [
            filled(),
            og.StandardScaler(columns=og.numeric()),
            og.OneHotEncoder(
                columns=og.categorical(), max_categories=60, handle_unknown="infrequent_if_exist"
            ),
            og.LogisticRegression(),
        ]
    ),
    "TorchClassifier()": lambda: og.Pipeline([filled(), og.TorchClassifier(random_state=7)]),
    "numbers by splines, TorchClassifier(256-128)": lambda: og.Pipeline(
        [
            filled(),
            bends(),
            og.TorchClassifier(
                module__hidden=(256, 128), module__dropout=0.1, batch_size=1024, max_epochs=8, **COURSE
            ),
        ]
    ),
}


def main() -> None:
    loaded = load_job(JOB)
    train, test = split(open_data(loaded, open_engine("local")), loaded.job)
    contenders = {**CONTENDERS, "gradient boosting, as in the job": lambda: loaded.pipeline}
    lines = [line(name, make(), train, test, loaded.job.target) for name, make in contenders.items()]
    facts = machine()
    text = [
        "# Networks and trees on the flights",
        "",
        "Written by `python -m bench tabular`: the rows and the split of examples/flights/job.yaml, one fit",
        "of each; what they say of the test rows, and of those they learned from.",
        "",
        f"{facts['CPU']}, {facts['cores']} cores, {facts['date']}; load {facts['load before']} at the end.",
        "",
        "| model | seconds | ROC AUC | log loss | ROC AUC of the training rows |",
        "|---|---:|---:|---:|---:|",
        *lines,
        "",
    ]
    RESULTS.write_text("\n".join(text))
    print("\n".join(text))


def line(name: str, model: Any, train: Any, test: Any, target: str) -> str:
    """A row of the table."""
    began = time.perf_counter()
    model.fit(train, target)
    seconds = time.perf_counter() - began
    new, known = model.evaluate(test, target), model.evaluate(train, target)
    return (
        f"| {name} | {seconds:,.0f} | {new['roc_auc']:.4f} | {new['log_loss']:.4f} | {known['roc_auc']:.4f} |"
    )


if __name__ == "__main__":
    main()
