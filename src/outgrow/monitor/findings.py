"""What a comparison says: a fact with its numbers, and a verdict that needs both certainty and size."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from numbers import Real
from typing import Any, Literal

import numpy as np
import pyarrow as pa

from outgrow.errors import ParameterError
from outgrow.stats.discovery import q_values
from outgrow.stats.distances import Distance

Verdict = Literal["ok", "watch", "drift", "cannot say"]
What = Literal[
    "values",
    "not counted",
    "missing",
    "new categories",
    "predictions",
    "label",
    "concept",
    "answers",
    "schema",
    "volume",
]
DISTANCES = ("psi", "js", "kl", "ks", "wasserstein", "l1", "tv", "linf")
"""Those that a threshold can be set for."""
EFFECT: Mapping[str, float] = {"psi": 0.1, "js": 0.1, "missing": 0.05, "new": 0.01, "concept": 0.05}
"""From when a change is large, if nothing else is said."""
FDR = 0.01
LEAST_VALUES = 30
"""With fewer values on either side nothing is said."""


@dataclass(frozen=True)
class Finding:
    """One thing that was compared.

    Attributes
    ----------
    what : 'values', 'not counted' (values of a column that cannot be compared), 'missing', 'new categories',
        'predictions', 'label', 'concept' (what labels go with a prediction), 'answers' (what predictions go
        with a label), 'schema' or 'volume'.
    column : which it is about; '' for all rows.
    slice : the part of the rows, like 'carrier=AA'; '' for all.
    measure : what `value` is, such as 'psi'.
    value, low, high : the measure with its interval of 95 %; NaN where there is none.
    p : the chance of as much without any change; NaN where it is no test.
    q : p, adjusted for all tests of the comparison (Benjamini and Hochberg).
    effect : from which value on the change is large.
    verdict : 'drift' where q is at most the rate of false discoveries that is allowed and the value is at
        least `effect`; 'watch' where it is certain, and at least half as large; 'cannot say' where there are
        too few rows for either, or values are not told apart; else 'ok'.
    because : the fact in words, with its numbers.
    measures : all distances, by name.
    share : of the total distance of all columns, or of all slices of a column; 0 where it adds nothing.
    """

    what: What
    column: str
    slice: str
    measure: str
    value: float
    low: float
    high: float
    p: float
    q: float
    effect: float
    verdict: Verdict
    because: str
    measures: Mapping[str, Distance] = field(default_factory=dict, repr=False)
    share: float = 0.0

    @property
    def subject(self) -> str:
        """What it is about, in short."""
        where = f" where {self.slice}" if self.slice else ""
        about = {"values": self.column, "missing": f"{self.column}: missing values"}
        about |= {"new categories": f"{self.column}: new categories", "concept": "labels for a prediction"}
        about |= {"answers": "predictions for a label", "volume": "rows"}
        return about.get(self.what, self.column or self.what) + where

    def __str__(self) -> str:
        return f"{self.verdict}: {self.subject}: {self.because}"


@dataclass(frozen=True)
class Rule:
    """When a change counts.

    Attributes
    ----------
    fdr : the share of false ones among the changes that are reported, at most.
    effect : by measure, from when a change is large; of the distances any one suffices.
    """

    fdr: float
    effect: Mapping[str, float]

    @classmethod
    def of(cls, fdr: float, effect: Mapping[str, float] | None) -> Rule:
        """The rule that a user gave; other distances replace the usual ones.

        Parameters
        ----------
        fdr : between 0 and 1.
        effect : by measure; None for the usual.

        Raises
        ------
        ParameterError
            When the rate is no share, or a measure is not known.
        """
        if isinstance(fdr, bool) or not isinstance(fdr, Real) or not 0 < fdr < 1:
            raise ParameterError(
                f"fdr={fdr!r}: the rate of false discoveries lies between 0 and 1, like 0.01."
            )
        given = dict(effect or {})
        known = (*DISTANCES, "missing", "new", "concept")
        for name, value in given.items():
            if name not in known:
                raise ParameterError(
                    f"effect names {name!r}, which is no measure. Known: {', '.join(known)}."
                )
            if isinstance(value, bool) or not isinstance(value, Real) or not value >= 0:
                raise ParameterError(f"effect={{{name!r}: {value!r}}}: give a number of at least 0.")
        distances = given.keys() & set(DISTANCES)
        usual = {k: v for k, v in EFFECT.items() if not (distances and k in DISTANCES)}
        return cls(float(fdr), {**usual, **given})

    def largest(self, measures: Mapping[str, Distance]) -> tuple[str, float]:
        """The distance that exceeds its threshold most, and the threshold.

        Parameters
        ----------
        measures : all distances.
        """
        usable = [name for name in DISTANCES if name in self.effect and name in measures]
        if not usable:  # categories have no KS
            usable, effect = ["js"], {"js": EFFECT["js"]}
        else:
            effect = {name: self.effect[name] for name in usable}

        def excess(name: str) -> float:
            return measures[name].value / effect[name] if effect[name] else np.inf

        name = max(usable, key=excess)
        return name, effect[name]

    def judged(self, findings: Sequence[Finding]) -> list[Finding]:
        """Findings with q and verdict; those that are no tests, or of too few rows, keep theirs.

        Parameters
        ----------
        findings : all that were tested together.
        """
        q = q_values([finding.p for finding in findings])
        return [
            finding if np.isnan(finding.p) else self._judged(finding, float(adjusted))
            for finding, adjusted in zip(findings, q, strict=True)
        ]

    def _judged(self, finding: Finding, q: float) -> Finding:
        size, certain = abs(finding.value), q <= self.fdr
        if finding.verdict == "cannot say":
            return replace(finding, q=q)
        if certain and size >= finding.effect:
            verdict: Verdict = "drift"
        elif certain and size >= finding.effect / 2:
            verdict = "watch"
        elif not certain and size >= finding.effect:
            verdict = "cannot say"
        else:
            verdict = "ok"
        because = finding.because
        if verdict == "cannot say":
            because += " As much happens by chance with so few rows; wait for more."
        return replace(finding, q=q, verdict=verdict, because=because)


ORDER: Mapping[str, int] = {"drift": 0, "watch": 1, "cannot say": 2, "ok": 3}

SCHEMA = pa.schema(
    [
        *((name, pa.string()) for name in ("what", "column", "slice", "measure")),
        *((name, pa.float64()) for name in ("value", "low", "high", "p", "q", "effect")),
        *((name, pa.string()) for name in ("verdict", "because")),
        ("share", pa.float64()),
        *((name, pa.float64()) for name in (*DISTANCES, "chi2")),
    ]
)
"""Of findings as a table."""


def findings_table(findings: Sequence[Finding]) -> pa.Table:
    """A row for each finding, with all distances as columns."""
    return pa.Table.from_pylist([_row(finding) for finding in findings], SCHEMA)


def _row(finding: Finding) -> dict[str, Any]:
    names = [name for name in SCHEMA.names if name not in (*DISTANCES, "chi2")]
    values = {name: _finite(getattr(finding, name)) for name in names}
    return values | {name: distance.value for name, distance in finding.measures.items()}


def _finite(value: Any) -> Any:
    return None if isinstance(value, float) and np.isnan(value) else value
