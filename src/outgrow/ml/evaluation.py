"""How good predictions are, from one pass over rows with known y."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa
from sklearn.utils.validation import check_is_fitted

from outgrow.data.batch import Batch
from outgrow.engine.activity import activity
from outgrow.engine.blocks import Block, MatrixSpec, build_blocks, concatenated
from outgrow.engine.matrix import MatrixView
from outgrow.errors import DataError, ParameterError
from outgrow.ml.core.inputs import open_training
from outgrow.ml.core.scoring import Scoring
from outgrow.ml.core.task import Task
from outgrow.page.tabular import Tabular
from outgrow.stats.state import from_tree, merge, to_tree

SCORES = 1 << 18
"""Answers of several models that are looked at together."""


@dataclass(frozen=True, eq=False, repr=False)
class Scores(Tabular, Mapping[str, float]):
    """Metrics by name, and the state they were read from.

    Attributes
    ----------
    rows : how many rows were scored.
    state : with `confusion` and, for classifiers, `ranked` (ROC and precision-recall curves) and
        `calibration`.
    classes : the classes in the order of the confusion matrix, or None.
    """

    values_: dict[str, float]
    rows: int
    state: Any
    classes: list[Any] | None = None

    def __getitem__(self, name: str) -> float:
        return self.values_[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.values_)

    def __len__(self) -> int:
        return len(self.values_)

    @property
    def confusion(self) -> np.ndarray:
        """Weight of rows by true class (row) and predicted class (column)."""
        return self.state.confusion

    def to_arrow(self) -> pa.Table:
        """A row for each metric, and one for how many rows were scored."""
        names = [*self.values_, "rows"]
        return pa.table({"metric": names, "value": [*map(float, self.values_.values()), float(self.rows)]})

    def to_dict(self) -> dict[str, Any]:
        """The metrics by name."""
        return dict(self.values_)

    def __repr__(self) -> str:
        width = max(map(len, self.values_))
        lines = [f"{name:<{width}}  {value:.6g}" for name, value in self.values_.items()]
        return "\n".join([*lines, f"{'rows':<{width}}  {self.rows:,}"])


def mean_scores(folds: Sequence[Scores]) -> dict[str, float]:
    """Each metric's mean over folds."""
    return {name: float(np.mean([fold[name] for fold in folds])) for name in (folds[0] if folds else ())}


def std_scores(folds: Sequence[Scores]) -> dict[str, float]:
    """Each metric's standard deviation over folds."""
    return {name: float(np.std([fold[name] for fold in folds])) for name in (folds[0] if folds else ())}


def evaluate(
    model: Any, X: Any, y: Any, sample_weight: Any = None, roles: Mapping[str, Any] | None = None
) -> Scores:
    """Score a fitted model; see `Supervised.evaluate`.

    Parameters
    ----------
    model : a fitted model, or a pipeline that ends in one.
    X, y, sample_weight : as for its `fit`; X has the columns of the fit.
    roles : what else it is judged by, by the name of the role: as for its `fit`.
    """
    check_is_fitted(model)
    opened = open_training(model, X, y, sample_weight, reset=False, roles=roles)
    task = Task(opened.target, opened.weight, tuple(model.columns_), roles=opened.roles)
    engine, scan = opened.dataset.engine, opened.dataset.scan
    with activity("evaluate", model, data=opened.dataset, target=opened.target) as evaluation:
        tree = engine.fit(
            lambda shard: to_tree(shard.reduce(scorer(model, task))), scan, stage="evaluate", keep=False
        ).result
        scores = read_scores(model, tree)
        evaluation.note(metrics=scores, rows=scores.rows)
    return scores


def scorer(model: Any, task: Task) -> Callable[[Batch], Any]:
    """A fold that scores the rows of a batch: the state of the metrics, and how many rows.

    Parameters
    ----------
    model : a fitted model, or a pipeline that ends in one, whose steps then change each batch first.
    task : says which columns are the target and the weight.
    """
    last = getattr(model, "model", model)
    score = many_scorer([[last]], task)

    def fold(batch: Batch) -> Any:
        (states,), rows = score(batch if last is model else model._transform_all(batch))
        return split(states)[0], rows

    return fold


def many_scorer(
    groups: Sequence[Sequence[Any]], task: Task, bins: int | None = None
) -> Callable[[Batch], Any]:
    """A fold that scores models on a batch as it reaches them: what `split` takes, and how many rows.

    Parameters
    ----------
    groups : fitted models; those of a group are of one class and have the same features.
    task : says which columns are the target and the weight.
    bins : scores of classes are not kept but counted in so many bins; None keeps them.
    """
    first = groups[0][0]
    spec = MatrixSpec(
        (),
        task.target,
        task.weight,
        labels=scoring_of(first).labels,
        roles=tuple(task.roles.items()),
        labelled=getattr(first, "role_labels", ()),
        timed=getattr(first, "role_times", ()),
    )

    def fold(batch: Batch) -> Any:
        (block,) = build_blocks(batch, spec)
        states = tuple(_scored(models, batch, block, bins) for models in groups)
        return states, np.array([float(batch.num_rows)])

    return fold


def _scored(models: Sequence[Any], batch: Batch, block: Block, bins: int | None) -> Any:
    first = models[0]
    if block.values is not None:
        block = replace(block, y=_known_places(first, block.values)[block.y])
    if first.shared_fit_parameters is not None:
        return states_of(models, replace(block, X=first._matrix(batch)), bins)
    scoring = scoring_of(first)
    answers = [model._predict_batch(scoring.method, batch) for model in models]
    return scoring.states(models, answers, block, bins)


def states_of(models: Sequence[Any], block: Block, bins: int | None) -> Any:
    """The states of the metrics of several models of one class on the rows of a matrix, for `split`.

    Parameters
    ----------
    models : fitted, with the same features. They answer so few rows at a time that all answers fit in memory.
    block : rows with X as the models get it; y are numbers, or places among the classes of the models.
    bins : as for `many_scorer`.
    """
    found: Any = None
    scoring, step = scoring_of(models[0]), SCORES // len(models)
    for start in range(0, max(1, len(block)), step):
        part = block.take(slice(start, start + step))
        answers = type(models[0])._predict_many(models, scoring.method, part.X)
        found = merge(found, scoring.states(models, answers, part, bins))
    return found


def score_view(model: Any, view: MatrixView) -> Scores:
    """The metrics of a model on the rows of a matrix as the model gets it, from one pass.

    Parameters
    ----------
    model : a fitted one, without steps before it.
    view : rows with its features and y; those of all ranks count. Its classes may be some of the model's.

    Raises
    ------
    DataError
        When y holds a class that the model does not know, or no row counts.
    """
    places = _places_of(model, view)

    def fold(block: Block) -> Any:
        return split(states_of([model], _renumbered(block, places), None))[0], np.array([float(len(block))])

    state, rows = view.reduce(fold)
    return as_scores(model, state, int(rows[0]), getattr(model, "classes_", None))


def score_answers(model: Any, answers: np.ndarray, view: MatrixView) -> Scores:
    """The metrics of what a model answers for all rows of a matrix on this rank, in their order.

    Parameters
    ----------
    model : what answered, fitted as far as that its classes are known.
    answers : probabilities of shape (rows, classes) of a classifier, of shape (rows,) or (rows, targets) of a
        regressor.
    view : the same rows with their y and weights; X is not looked at.

    Raises
    ------
    DataError
        When y holds a class that the model does not know, or no row counts.
    """
    places = _places_of(model, view)
    blocks = [_renumbered(block, places) for block in view.blocks()]
    y, weight = (concatenated([getattr(block, name) for block in blocks]) for name in ("y", "weight"))
    roles = {
        role: np.concatenate([block.roles[role] for block in blocks])
        for role in (blocks[0].roles if blocks else ())
    }
    rows = Block(np.zeros((len(answers), 0)), y, weight, roles=roles)
    (state,) = split(scoring_of(model).states([model], [answers], rows, None))
    return as_scores(model, state, len(answers), getattr(model, "classes_", None))


def _places_of(model: Any, view: MatrixView) -> np.ndarray | None:
    """The place that each class of a matrix has among those of the model."""
    return None if view.labels.classes is None else _known_places(model, view.classes.tolist())


def _renumbered(block: Block, places: np.ndarray | None) -> Block:
    return block if places is None else replace(block, y=places[block.y])


def split(states: Any) -> list[Any]:
    """The state of each model."""
    return list(states) if isinstance(states, tuple) else states.split()


def read_scores(model: Any, tree: Any) -> Scores:
    """The scores of what `scorer` gave, as a tree.

    Parameters
    ----------
    model : the model, or pipeline, that was scored.
    tree : a state and how many rows, merged over all batches, as `to_tree` writes them.
    """
    state, rows = from_tree(tree)
    return as_scores(model, state, int(rows[0]), getattr(model, "classes_", None))


def as_scores(model: Any, state: Any, rows: int, classes: Any) -> Scores:
    """The scores of the state of so many rows, for a model of this kind.

    Parameters
    ----------
    model : says whether metrics are those of a clusterer, and what several targets are called.
    state : the merged state of the metrics; of a clusterer its weight and weighted squared distances.
    rows : how many rows were scored, whatever they weigh.
    classes : ndarray of the model's classes, a list of those of each target, or None.

    Raises
    ------
    DataError
        When no row counts.
    """
    scoring = scoring_of(model)
    if not scoring.weight(state) > 0:
        why = "all sample weights are zero" if rows else "there are no rows"
        raise DataError(f"Nothing can be scored: {why}. Give rows that count.")
    metrics = scoring.metrics(state) | _by_target(model, state)
    plain = [each.tolist() for each in classes] if isinstance(classes, list) else classes
    return Scores(metrics, rows, state, plain.tolist() if isinstance(plain, np.ndarray) else plain)


def _by_target(model: Any, state: Any) -> dict[str, float]:
    """Each metric of each target, `r2_<target>`, where there are several."""
    names = getattr(getattr(model, "model", model), "target_names_", None)
    if names is None:
        return {}
    pairs = zip(names, state.each_target(), strict=True)
    known = scoring_of(model).names
    return {
        f"{metric}_{name}": value
        for name, metrics in pairs
        for metric, value in metrics.items()
        if metric in known
    }


def scoring_of(model: Any) -> Scoring:
    """How a model, or the last step of a pipeline, is judged.

    Raises
    ------
    ParameterError
        When it predicts nothing.
    """
    scoring: Scoring | None = getattr(getattr(model, "model", model), "_scoring", None)
    if scoring is None:
        raise ParameterError(f"{model!r} predicts nothing that could be judged. Put a model at its end.")
    return scoring


def _known_places(model: Any, values: Sequence[Any]) -> np.ndarray:
    """The place of each class among those of the model; of combinations of classes those of each target."""
    if isinstance(model.classes_, list):
        columns = zip(model.classes_, zip(*values, strict=True), strict=True)
        return np.column_stack([_places(classes, column) for classes, column in columns])
    return _places(model.classes_, values)


def _places(classes: np.ndarray, values: Sequence[Any]) -> np.ndarray:
    places = {label: place for place, label in enumerate(classes.tolist())}
    unseen = [value for value in values if value not in places]
    if unseen:
        raise DataError(
            f"y holds classes that were not there at fit: {unseen[:5]}. Known: {list(places)[:20]}."
        )
    return np.array([places[value] for value in values], dtype=np.intp)
