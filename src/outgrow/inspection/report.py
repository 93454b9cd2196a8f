"""A page about a fitted model: how good it is on rows, with the figures of its kind."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from sklearn.utils.validation import check_is_fitted

from outgrow._version import __version__
from outgrow.inspection import figures
from outgrow.inspection.figures import Listing
from outgrow.inspection.pairs import count_pairs, count_silhouettes, predicts_one_number
from outgrow.ml.core.inputs import open_training
from outgrow.ml.core.scoring import CLASSES, PROBABILITIES
from outgrow.ml.evaluation import evaluate, scoring_of
from outgrow.ml.predictor import Predictor
from outgrow.page import format as say
from outgrow.page.render import Plot, render
from outgrow.page.tabular import Tabular
from outgrow.stats.scores import ClassificationState


@dataclass(frozen=True, eq=False, repr=False)
class ModelReport(Tabular):
    """How good a model is on rows, with figures; see `model_report`.

    Attributes
    ----------
    model : that was judged.
    metrics : by name; none of a transformer.
    rows : how many were scored; None where only the model was looked at.
    figures : each with a title, a caption and SVG.
    tables : further tables of the page.
    """

    model: Any
    metrics: dict[str, float]
    rows: int | None
    figures: list[Plot]
    tables: list[Listing]

    def to_arrow(self) -> pa.Table:
        """A row for each metric."""
        return pa.table({"metric": list(self.metrics), "value": list(map(float, self.metrics.values()))})

    def to_dict(self) -> dict[str, Any]:
        """The metrics by name."""
        return dict(self.metrics)

    @property
    def _title(self) -> str:
        rows = "" if self.rows is None else f", {self.rows:,} rows"
        return f"{type(self).__name__} of {_name(self.model)}{rows}"

    def to_html(self) -> str:
        """The report as one HTML page that needs no network."""
        tiles = [(say.score(value), say.metric_name(name)) for name, value in list(self.metrics.items())[:4]]
        lead = "As it was learned." if self.rows is None else f"Judged on {self.rows:,} rows."
        return render(
            Path(__file__).parent,
            "model.html.j2",
            title=_name(self.model),
            lead=lead,
            tiles=tiles,
            metrics=[(say.metric_name(name), say.score(value)) for name, value in self.metrics.items()],
            plots=self.figures,
            tables=self.tables,
            model=repr(self.model),
            libraries={"outgrow": __version__},
            began=datetime.now(UTC),
        )


def model_report(model: Any, X: Any, y: Any = None, sample_weight: Any = None, **roles: Any) -> ModelReport:
    """Judge a fitted model on rows, and draw what users of its kind look at; `save` writes an HTML page.

    Classifiers get curves of ROC, precision, gain and lift, calibration, and confusion; regressors observed
    numbers and residuals by predicted ones; models of survival the survival of thirds by risk, as observed
    and as the model says; clusterers silhouettes; models of topics their words.

    Parameters
    ----------
    model : a fitted model, or a pipeline that ends in one.
    X : rows, best ones the model has not seen, in any form that `evaluate` takes.
    y : the name of a column of X, or an array; as for `evaluate`.
    sample_weight : the name of a column of X, or an array of shape (rows,).
    **roles : what else the model is judged by, such as `event`; as for `evaluate`.

    Raises
    ------
    ParameterError
        When the model is judged by nothing and has no topics.

    Notes
    -----
    Topics behind other steps of a pipeline are judged by the documents that they were learned from. A scan
    for `evaluate`; of numbers one more, of clusters three more. Silhouettes are of squared Euclidean
    distances, as Spark MLlib's `ClusteringEvaluator` has them.

    Examples
    --------
    >>> import numpy as np, outgrow as og
    >>> X = np.random.default_rng(0).normal(size=(300, 2))
    >>> model = og.LinearRegression().fit(X, X @ [1.0, 2.0])
    >>> report = og.inspection.model_report(model, X, X @ [1.0, 2.0])
    >>> [figure.title for figure in report.figures]
    ['Observed and predicted', 'Residuals', 'Spread of the residuals']
    >>> report.save("model.html")  # doctest: +SKIP
    """
    check_is_fitted(model)
    last = getattr(model, "model", model)
    if hasattr(last, "topics"):
        score = float(last.bound_ if last is not model else last.score(X))
        metrics = {"score": score, "perplexity": float(np.exp(-score))}
        return ModelReport(model, metrics, None, figures.of_topics(last), [])
    scoring_of(model)  # which says what cannot be judged
    scores = _scores(model, X, y, sample_weight, roles)
    drawn, tables = _drawn(model, last, scores, (X, y, sample_weight))
    return ModelReport(model, dict(scores), scores.rows, drawn, tables)


def _scores(model: Any, X: Any, y: Any, sample_weight: Any, roles: dict[str, Any]) -> Any:
    if hasattr(model, "evaluate"):
        return model.evaluate(X, y, sample_weight=sample_weight, **roles)
    return evaluate(model, X, y, sample_weight, roles or None)


def _drawn(model: Any, last: Any, scores: Any, rows: Sequence[Any]) -> tuple[list[Plot], list[Listing]]:
    state, scoring = scores.state, scoring_of(model)
    if isinstance(state, ClassificationState):
        probable, ranked = scoring is PROBABILITIES, scoring is not CLASSES
        drawn = figures.of_classes_answered(state, scores.classes, probable=probable, ranked=ranked)
        return drawn, figures.mixed_up(state.confusion, scores.classes)
    if hasattr(last, "_survival"):
        return figures.of_times(last, state), []
    if predicts_one_number(model, scores):
        opened = open_training(model, *rows, reset=False)
        return figures.of_numbers(count_pairs(Predictor(model), opened)), []
    if last.__sklearn_tags__().estimator_type in ("clusterer", "density_estimator"):
        if not hasattr(last, "predict"):
            return [], []
        silhouettes = count_silhouettes(Predictor(model), open_training(model, *rows, reset=False))
        return ([] if silhouettes is None else figures.of_clusters(silhouettes)), []
    return [], []


def _name(model: Any) -> str:
    last = getattr(model, "model", model)
    return type(last).__name__
