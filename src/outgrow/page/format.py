"""Numbers as people read them."""

from __future__ import annotations

import math
from typing import Any

NONE = "n/a"
"""A number that does not exist."""
_METRICS = {
    "accuracy": "Accuracy",
    "log_loss": "Log loss",
    "precision": "Precision",
    "recall": "Recall",
    "f1": "F1",
    "roc_auc": "ROC AUC",
    "pr_auc": "PR AUC",
    "precision_macro": "Precision (macro)",
    "recall_macro": "Recall (macro)",
    "f1_macro": "F1 (macro)",
    "roc_auc_ovr": "ROC AUC (one vs. rest)",
    "r2": "R²",
    "d2": "D²",
    "deviance": "Deviance",
    "mse": "MSE",
    "rmse": "RMSE",
    "mae": "MAE",
    "concordance": "Concordance",
    "log_likelihood": "Log likelihood",
    "inertia": "Inertia",
    "perplexity": "Perplexity",
    "score": "Score",
}


def metric_name(name: str) -> str:
    """The name of a metric as it is printed."""
    return _METRICS.get(name, name)


def score(value: float) -> str:
    """A metric: four decimals for the usual size, four digits for others.

    Examples
    --------
    >>> score(0.79617), score(12345.678)
    ('0.7962', '12,350')
    """
    return NONE if not math.isfinite(value) else f"{value:.4f}" if abs(value) < 100 else number(value)


def number(value: Any) -> str:
    """A number with four significant digits, or text as it is.

    Examples
    --------
    >>> number(1234567.8), number(0.00012345), number(None), number(3.0)
    ('1,235,000', '0.0001234', '', '3')
    """
    if value is None:
        return ""
    if not isinstance(value, float | int) or isinstance(value, bool):
        return str(value)
    if not math.isfinite(value):
        return NONE
    if value == int(value) and abs(value) < 1e9:
        return f"{int(value):,}"
    if 1e-4 <= abs(value) < 1e9:
        digits = 3 - math.floor(math.log10(abs(value)))
        return f"{round(value, digits):,.{max(0, digits)}f}"
    return f"{value:.3e}"


def count(value: int) -> str:
    """A whole number with thousands set apart."""
    return f"{value:,}"


def share(value: float) -> str:
    """A share as a percentage; small ones do not become zero.

    Examples
    --------
    >>> share(0.237), share(0.00001), share(0)
    ('23.7 %', '< 0.1 %', '0 %')
    """
    if value == 0:
        return "0 %"
    return "< 0.1 %" if value < 0.001 else f"{value:.1%}".replace("%", " %")


def seconds(value: float) -> str:
    """A time span.

    Examples
    --------
    >>> seconds(0.0123), seconds(12.34), seconds(754)
    ('12 ms', '12.3 s', '12 min 34 s')
    """
    if value < 1:
        return f"{value * 1000:.0f} ms"
    return f"{value:.1f} s" if value < 60 else f"{int(value) // 60} min {int(value) % 60} s"


def rate(rows_per_second: float) -> str:
    """Rows a second, in short.

    Examples
    --------
    >>> rate(2_345_678), rate(45_600), rate(123)
    ('2.3M rows/s', '46k rows/s', '123 rows/s')
    """
    if rows_per_second >= 1e6:
        return f"{rows_per_second / 1e6:.1f}M rows/s"
    if rows_per_second >= 1e3:
        return f"{rows_per_second / 1e3:.{0 if rows_per_second >= 1e4 else 1}f}k rows/s"
    return f"{rows_per_second:.0f} rows/s"
