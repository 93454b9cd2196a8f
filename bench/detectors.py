"""`python -m bench detectors`: how soon errors that grew are noticed, and how often falsely, beside river.

Errors are those of coins and of a tree that learned 2,000 rows of a generator of river (SEA, Agrawal,
Hyperplane, LED, STAGGER, RBF), before and after its concept changes. Each detector sees the same rows with
its usual settings. The e-detector alarms falsely at most once in 100,000 rows; its baseline is the upper
bound (99 %) of the errors of so many other rows.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from river import drift
from river.datasets import synth
from river.drift import binary
from sklearn.tree import DecisionTreeClassifier

from bench.machine import machine
from outgrow.stats.e_detector import EDetector, ErrorCounts

RESULT = Path(__file__).parent / "results" / "detectors.md"
LEARNED, MEASURED, BEFORE, AFTER = 2_000, 10_000, 10_000, 4_000
FALSE_ALARMS = 1e-5

PEERS: dict[str, Callable[[], Any]] = {
    "river ADWIN": drift.ADWIN,
    "river PageHinkley": drift.PageHinkley,
    "river HDDM_A": binary.HDDMA,
    "river HDDM_W": binary.HDDMW,
    "river DDM": binary.DDM,
    "river EDDM": binary.EDDM,
}
OURS = {"e-detector, baseline of 2,000 rows": 2_000, "e-detector, baseline of 10,000 rows": 10_000}


@dataclass
class Score:
    """What a detector did on streams of one kind."""

    false_alarms: int = 0
    rows: int = 0
    missed: int = 0
    delays: list[int] = field(default_factory=list)
    seconds: float = 0.0
    steps: int = 0


def main() -> None:
    """Run, and write the table."""
    parser = argparse.ArgumentParser(prog="python -m bench detectors", description=__doc__)
    parser.add_argument("--seeds", type=int, default=8, help="streams of each kind")
    seeds = parser.parse_args().seeds
    lines = [
        "# Errors that grew: delay and false alarms",
        "",
        (__doc__ or "").partition("\n\n")[2].strip().replace("\n", " "),
        "",
        f"{seeds} streams of each kind: {BEFORE:,} rows before the change and {AFTER:,} after it. "
        "False alarms are per 10,000 rows before it; the delay is the median in rows, beside how many "
        "changes were missed.",
        "",
        ", ".join(f"{key} {value}" for key, value in machine().items()),
        "",
    ]
    for kind, make in STREAMS.items():
        scores = {name: Score() for name in (*PEERS, *OURS)}
        levels = []
        for seed in range(seeds):
            measured, errors = make(seed)
            levels.append((errors[:BEFORE].mean(), errors[BEFORE:].mean()))
            judge(scores, measured, errors)
        before, after = np.mean(levels, axis=0)
        lines += table(f"{kind}: errors {before:.3f} to {after:.3f}", scores)
        print("\n".join(table(kind, scores)), flush=True)
    RESULT.write_text("\n".join(lines))


def judge(scores: dict[str, Score], measured: np.ndarray, errors: np.ndarray) -> None:
    """Show a stream to every detector.

    Parameters
    ----------
    scores : by detector.
    measured : errors from which a baseline is made.
    errors : before and after the change.
    """
    for name, make in PEERS.items():
        alarms = []
        detector, began = make(), time.process_time()
        for row, error in enumerate(errors.tolist()):
            detector.update(error)
            if detector.drift_detected:
                alarms.append(row)
                if row >= BEFORE:
                    break
        note(scores[name], alarms, time.process_time() - began, row + 1)
    for name, rows_measured in OURS.items():
        baseline = ErrorCounts.of(measured[:rows_measured]).upper()
        alarms, start, began = [], 0, time.process_time()
        while start < len(errors):
            detector = EDetector(baseline, FALSE_ALARMS).update(errors[start:])
            if detector.alarm is None:
                break
            start += detector.alarm
            alarms.append(start - 1)
            if start > BEFORE:
                break
        note(scores[name], alarms, time.process_time() - began, len(errors))


def note(score: Score, alarms: list[int], seconds: float, steps: int) -> None:
    """Count what a detector did on a stream."""
    score.false_alarms += sum(row < BEFORE for row in alarms)
    score.rows += BEFORE
    after = [row - BEFORE + 1 for row in alarms if row >= BEFORE]
    score.delays += after[:1]
    score.missed += not after
    score.seconds += seconds
    score.steps += steps


def table(title: str, scores: dict[str, Score]) -> list[str]:
    """A table in Markdown."""
    lines = [
        f"## {title}",
        "",
        "| detector | false alarms | delay | missed | us a row |",
        "|---|---:|---:|---:|---:|",
    ]
    for name, score in scores.items():
        delay = f"{np.median(score.delays):,.0f}" if score.delays else ""
        rate = score.false_alarms / score.rows * 1e4
        cost = score.seconds / score.steps * 1e6
        lines.append(f"| {name} | {rate:.2f} | {delay} | {score.missed} | {cost:.1f} |")
    return [*lines, ""]


def coin(after: float) -> Callable[[int], tuple[np.ndarray, np.ndarray]]:
    """Errors with the chance 0.2, then another."""

    def make(seed: int) -> tuple[np.ndarray, np.ndarray]:
        rng = np.random.default_rng(seed)
        chance = np.where(np.arange(BEFORE + AFTER) < BEFORE, 0.2, after)
        return (rng.random(MEASURED) < 0.2) * 1.0, (rng.random(len(chance)) < chance) * 1.0

    return make


def errors_of(
    first: Callable[[int], Any], second: Callable[[int], Any]
) -> Callable[[int], tuple[np.ndarray, np.ndarray]]:
    """Errors of a tree that learned the first concept, on more of it and then on the second."""

    def make(seed: int) -> tuple[np.ndarray, np.ndarray]:
        X, y = rows(first(seed), LEARNED + MEASURED + BEFORE)
        model = DecisionTreeClassifier(min_samples_leaf=20, random_state=0).fit(X[:LEARNED], y[:LEARNED])
        wrong = model.predict(X[LEARNED:]) != y[LEARNED:]
        other, truth = rows(second(seed), AFTER)
        return wrong[:MEASURED] * 1.0, np.append(wrong[MEASURED:], model.predict(other) != truth) * 1.0

    return make


def rows(stream: Iterator[tuple[dict[Any, Any], Any]], count: int) -> tuple[np.ndarray, np.ndarray]:
    """So many rows of a generator as numbers; words are numbered by their order."""
    pairs = list(islice(iter(stream), count))
    columns = [np.array([row[name] for row, _ in pairs]) for name in pairs[0][0]]
    coded = [c if c.dtype.kind in "fiub" else np.unique(c, return_inverse=True)[1] for c in columns]
    return np.column_stack(coded).astype(np.float64), np.array([int(label) for _, label in pairs])


STREAMS: dict[str, Callable[[int], tuple[np.ndarray, np.ndarray]]] = {
    "coins 0.20 to 0.25": coin(0.25),
    "coins 0.20 to 0.30": coin(0.3),
    "coins 0.20 to 0.40": coin(0.4),
    "SEA": errors_of(
        lambda s: synth.SEA(variant=0, noise=0.1, seed=s),
        lambda s: synth.SEA(variant=2, noise=0.1, seed=s + 1000),
    ),
    "Agrawal": errors_of(
        lambda s: synth.Agrawal(classification_function=0, perturbation=0.1, seed=s),
        lambda s: synth.Agrawal(classification_function=1, perturbation=0.1, seed=s + 1000),
    ),
    "Hyperplane": errors_of(
        lambda s: synth.Hyperplane(n_features=5, n_drift_features=0, noise_percentage=0.05, seed=s),
        lambda s: synth.Hyperplane(n_features=5, n_drift_features=0, noise_percentage=0.05, seed=s + 1000),
    ),
    "LED": errors_of(
        lambda s: synth.LEDDrift(s, 0.1, irrelevant_features=True, n_drift_features=0),
        lambda s: synth.LEDDrift(s + 1000, 0.1, irrelevant_features=True, n_drift_features=7),
    ),
    "STAGGER": errors_of(
        lambda s: flipped(synth.STAGGER(classification_function=0, seed=s), s),
        lambda s: flipped(synth.STAGGER(classification_function=1, seed=s + 1000), s),
    ),
    "RBF": errors_of(
        lambda s: synth.RandomRBF(seed_model=s, seed_sample=s, n_classes=2, n_features=5, n_centroids=10),
        lambda s: synth.RandomRBF(seed_model=s + 1, seed_sample=s, n_classes=2, n_features=5, n_centroids=10),
    ),
}


def flipped(stream: Any, seed: int) -> Iterator[tuple[dict[Any, Any], int]]:
    """A stream without noise of its own, with one label in ten turned."""
    rng = np.random.default_rng(seed)
    for row, label in stream:
        yield row, int(label) ^ int(rng.random() < 0.1)
