"""Models that ignore the features: what any other model must beat."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Self, TypeVar

import numpy as np
import scipy.sparse as sp

from outgrow.data.batch import Batch
from outgrow.data.hashing import seeded, source_hash, unit
from outgrow.data.matrix import is_sparse
from outgrow.engine.blocks import Block, MatrixSpec
from outgrow.engine.matrix import MatrixView
from outgrow.engine.open import is_table
from outgrow.engine.shard import Shard
from outgrow.errors import ParameterError, ValueTypeError
from outgrow.ml.base import Classifier, Regressor
from outgrow.ml.core.exports import refusal
from outgrow.ml.core.groups import GroupBlock, GroupView, Stacked
from outgrow.ml.core.outputs import is_lazy
from outgrow.ml.core.parameters import RANDOM_STATE, Number, Numbers, OneOf, described, seed
from outgrow.ml.core.task import Task, target_names
from outgrow.ml.export.onnx.answer import Answer, chosen, repeated
from outgrow.ml.export.onnx.table import Table
from outgrow.ml.export.sklearn.twin import twin, with_learned
from outgrow.ml.several_classes import SeveralClassifier
from outgrow.stats.grouped import GroupedCoMoments
from outgrow.stats.moments import Moments
from outgrow.stats.quantiles import quantiles

R = TypeVar("R")


class _Ignoring:
    """Reads the target alone."""

    target_names_: list[str] | None

    def fit(self, X: Any, y: Any = None, sample_weight: Any = None, **roles: Any) -> Self:
        """Learn from rows, as other models do; X may be None where y is an array, or of any shape.

        Parameters
        ----------
        X, y, sample_weight, **roles : as for other models.
        """
        fitted: Self = super().fit(_rows(X, y), y, sample_weight, **roles)  # type: ignore[misc]
        return fitted

    def _respond(self, X: Any, method: str, through: Any = None) -> Any:
        return super()._respond(_rows(X), method, through)  # type: ignore[misc]

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()  # type: ignore[misc]
        tags.no_validation = tags.input_tags.categorical = tags.input_tags.allow_nan = True
        return tags

    def evaluate(self, X: Any, y: Any, sample_weight: Any = None, **roles: Any) -> Any:
        """The metrics of the predictions for rows with known y; X may be None where y is an array."""
        return super().evaluate(_rows(X, y), y, sample_weight, **roles)  # type: ignore[misc]

    def _fit_shard(self, shard: Shard, task: Task, *, last: bool = True) -> None:
        self.features_: list[str] = []
        self.target_names_ = target_names(shard.example, task)
        spec = MatrixSpec((), task.target, task.weight, labels=isinstance(self, Classifier))
        self._fit(shard.matrix(spec, last=last))

    def _fit(self, view: MatrixView) -> None:
        raise NotImplementedError


def _rows(X: Any, y: Any = None) -> Any:
    """X with rows, whatever else it is: arrays of any shape as tables, and zeros for the rows of y."""
    if X is None and y is not None and not isinstance(y, str):
        return np.zeros((len(y), 1))
    if is_table(X) or is_sparse(X):
        return X
    values = np.asarray(X)
    return X if values.ndim in (0, 2) or not len(values) else np.reshape(values, (len(values), -1))


class DummyClassifier(_Ignoring, SeveralClassifier):
    """Predicts from the shares of the classes alone, of one target or several.

    Parameters
    ----------
    strategy : 'prior', the most frequent class with the share of each as its probability; 'most_frequent',
        that class with certainty; 'stratified', a class drawn by the shares; 'uniform', one of all classes
        alike; 'constant', the class `constant`. What is drawn follows from the values of a row and
        `random_state`: the same row gets the same class, on every engine and in any order, so rows that are
        equal do not differ. A class that was drawn has probability 1 (scikit-learn gives equal ones for
        'uniform').
    random_state : another number draws other classes.
    constant : the class that 'constant' predicts, or one for each target.

    Attributes
    ----------
    classes_ : ndarray of the classes, sorted; of several targets a list of those of each.
    class_prior_ : ndarray of their shares; of several targets a list.
    sparse_output_ : whether y was sparse.

    Notes
    -----
    Unlike scikit-learn: what is drawn follows from the hashes of rows: equal rows get one class; a class that
    was drawn has probability 1.

    Examples
    --------
    >>> import numpy as np, outgrow as og
    >>> model = og.DummyClassifier().fit(np.zeros((4, 1)), np.array([0, 1, 1, 1]))
    >>> model.predict_proba(np.zeros((1, 1))).tolist()
    [[0.25, 0.75]]
    """

    parameters = {
        "strategy": OneOf("prior", "most_frequent", "stratified", "uniform", "constant"),
        "random_state": RANDOM_STATE,
        "constant": described("a class, one for each target, or None"),
    }
    sparse_output_: bool = False

    def __init__(self, *, strategy: str = "prior", random_state: Any = None, constant: Any = None) -> None:
        self.strategy = strategy
        self.random_state = random_state
        self.constant = constant

    def fit(self, X: Any, y: Any = None, sample_weight: Any = None, **roles: Any) -> Self:
        """Learn from rows, as other models do.

        Parameters
        ----------
        X : as for other models, or an array of any shape, or None where y is an array; its values do not
            matter.
        y : as for other models that learn several targets, or a sparse matrix of whole numbers of shape
            (rows, targets); then `predict` gives one, too.
        sample_weight, **roles : as for other models.
        """
        sparse = is_sparse(y)
        super().fit(X, y.toarray() if sparse else y, sample_weight, **roles)
        self.sparse_output_ = sparse
        return self

    def predict(self, X: Any) -> Any:
        """Predicted classes, as other models give them; a sparse matrix for arrays, if y was one."""
        predicted = super().predict(X)
        return sp.csc_array(predicted) if self.sparse_output_ and not is_lazy(X) else predicted

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.poor_score = True
        return tags

    def _check_parameters(self) -> None:
        if self.strategy == "constant" and self.constant is None:
            raise ParameterError(
                "Constant target value has to be specified when the constant strategy is used. "
                "Give constant=."
            )

    def _fit(self, view: MatrixView) -> None:
        self.seed_ = seed(self.random_state) if self.draws else 0
        if self.target_names_ is None:
            self.classes_, weights = view.classes, [view.class_weights]
        else:
            weights = self._learn_combinations(view, least=1).weights(view.class_weights)
        priors = [each / each.sum() for each in weights]
        self.class_prior_ = priors[0] if self.target_names_ is None else priors
        if self.strategy == "constant":
            self._check_constant()

    def _check_constant(self) -> None:
        if len(self._constants) != len(self._each_classes):
            raise ParameterError(
                f"Constant target value should have shape ({len(self._each_classes)}, 1): one class for each "
                f"target; constant={self.constant!r} has not."
            )
        for constant, classes in zip(self._constants, self._each_classes, strict=True):
            if constant not in classes.tolist():
                raise ParameterError(
                    "The constant target value must be present in the training data. You provided "
                    f"constant={self.constant}. Possible values are: {classes.tolist()}."
                )

    @property
    def _each_classes(self) -> list[np.ndarray]:
        """Those of each target."""
        return [self.classes_] if self.target_names_ is None else self.classes_

    @property
    def draws(self) -> bool:
        """Whether rows get different classes."""
        return self.strategy in ("stratified", "uniform")

    @property
    def _constants(self) -> list[Any]:
        """The constant of each target."""
        return list(np.ravel(np.array(self.constant, dtype=object)))

    @property
    def chances(self) -> np.ndarray:
        """The probability of each class of each target, for one that is drawn before it is drawn."""
        priors = [self.class_prior_] if self.target_names_ is None else self.class_prior_
        return np.concatenate([self._chances(k, prior) for k, prior in enumerate(priors)])

    def _chances(self, target: int, prior: np.ndarray) -> np.ndarray:
        if self.strategy in ("prior", "stratified"):
            return prior
        if self.strategy == "uniform":
            return np.full(len(prior), 1 / len(prior))
        if self.strategy == "constant":
            constant = self._constants[target]
            return np.array([float(label == constant) for label in self._each_classes[target].tolist()])
        chosen: np.ndarray = np.eye(len(prior))[np.argmax(prior)]
        return chosen

    def _predict_batch(self, method: str, batch: Batch) -> np.ndarray:
        if not self.draws:
            return super()._predict_batch(method, batch)
        return self._drawn(method, source_hash(batch, list(self.columns_)))

    def _drawn(self, method: str, source: np.ndarray) -> np.ndarray:
        """What is drawn for rows, by the `source_hash` of each."""
        answered: np.ndarray = getattr(self, f"_{method}")(seeded(source, self.seed_))
        return answered

    def _predict_proba(self, X: Any) -> np.ndarray:
        if not self.draws:
            return np.tile(self.chances, (X.shape[0], 1))
        each = np.split(self.chances, np.cumsum([len(classes) for classes in self._each_classes])[:-1])
        return np.hstack([_drawn(chances, seeded(X, k) if k else X) for k, chances in enumerate(each)])

    def _to_onnx(self, table: Table) -> Answer:
        self._check_certain()
        return chosen(table.graph, repeated(self.chances, table), self.classes_)

    def _sklearn_model(self) -> Any:
        self._check_certain()
        made = twin("dummy.DummyClassifier", strategy=self.strategy, constant=self.constant)
        made.fit(np.zeros((len(self.classes_), 1)), self.classes_)
        return with_learned(made, self, "class_prior_")

    def _check_certain(self) -> None:
        """Refuse to export what draws, or answers several targets."""
        if self.target_names_ is not None:
            raise refusal(self, "it answers several targets.", "Fit one model for each target.")
        if self.draws:
            fact = f"strategy={self.strategy!r} draws by the hashes of rows."
            raise refusal(self, fact, "Use 'prior' or 'constant'.")


def _drawn(chances: np.ndarray, hashes: np.ndarray) -> np.ndarray:
    """One class of each row with certainty, chosen by its hash."""
    ends = np.cumsum(chances)
    drawn: np.ndarray = np.eye(len(ends))[np.searchsorted(ends[:-1], unit(hashes), side="right")]
    return drawn


class DummyRegressor(_Ignoring, Regressor):
    """Predicts one number, or one for each target.

    Parameters
    ----------
    strategy : 'mean' of y, its 'median' or its 'quantile', neither of which takes weights; or 'constant'.
    constant : the number that 'constant' predicts, or one for each target.
    quantile : which one, between 0 and 1.

    Attributes
    ----------
    constant_ : the number, or ndarray of shape (targets,) where there are several targets.

    Notes
    -----
    Unlike scikit-learn: the median and quantile take no weights.

    Examples
    --------
    >>> import numpy as np, outgrow as og
    >>> og.DummyRegressor().fit(np.zeros((2, 1)), np.array([1.0, 3.0])).predict(np.zeros((1, 1))).tolist()
    [2.0]
    """

    parameters = {
        "strategy": OneOf("mean", "median", "quantile", "constant"),
        "constant": described("a number, one for each target, or None"),
        "quantile": Number(low=0, high=1) | None,
    }

    def __init__(
        self, *, strategy: str = "mean", constant: Any = None, quantile: float | None = None
    ) -> None:
        self.strategy = strategy
        self.constant = constant
        self.quantile = quantile

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.regressor_tags.poor_score = True
        tags.target_tags.multi_output = True
        return tags

    def _check_parameters(self) -> None:
        if self.strategy == "quantile" and self.quantile is None:
            raise ParameterError(
                "When using `strategy='quantile', you have to specify the desired quantile in the range "
                "[0, 1]."
            )
        if self.strategy == "constant" and self.constant is None:
            raise ValueTypeError(
                "Constant target value has to be specified when the constant strategy is used. "
                "Give constant=."
            )
        if self.strategy == "constant":
            Numbers().check("DummyRegressor", "constant", self.constant)

    def _group_form(self) -> GroupedMean | None:
        return GroupedMean() if self.strategy == "mean" else None

    def _fit(self, view: MatrixView) -> None:
        found = getattr(self, f"_{self.strategy}")(view, view.targets or 1)
        self.constant_ = float(found[0]) if view.targets is None else found

    def _mean(self, view: MatrixView, targets: int) -> np.ndarray:
        moments: Moments = view.reduce(lambda block: Moments.of(_columns(block), block.weight))
        return moments.mean

    def _median(self, view: MatrixView, targets: int) -> np.ndarray:
        return self._share(view, targets, 0.5)

    def _quantile(self, view: MatrixView, targets: int) -> np.ndarray:
        assert self.quantile is not None
        return self._share(view, targets, self.quantile)

    def _constant(self, view: MatrixView, targets: int) -> np.ndarray:
        given = np.ravel(np.asarray(self.constant, dtype=np.float64))
        if len(given) != targets:
            raise ParameterError(
                f"Constant target value should have shape ({targets}, 1). "
                f"You provided constant={self.constant}."
            )
        return given

    def _share(self, view: MatrixView, targets: int, share: float) -> np.ndarray:
        def reduce(fold: Callable[[np.ndarray], R]) -> R:
            return view.reduce(lambda block: fold(_columns(block)))

        return quantiles(reduce, targets, [share])[0][0]

    def _predict(self, X: Any) -> np.ndarray:
        return np.full((X.shape[0], *np.shape(self.constant_)), self.constant_)

    def _to_onnx(self, table: Table) -> Answer:
        width = None if self.target_names_ is None else len(self.target_names_)
        return Answer(repeated(np.asarray(self.constant_, dtype=np.float64), table), width=width)

    def _sklearn_model(self) -> Any:
        y = [self.constant_] if self.target_names_ is None else np.atleast_2d(self.constant_)
        return twin("dummy.DummyRegressor", strategy="mean").fit(np.zeros((1, 1)), y)


def _columns(block: Block) -> np.ndarray:
    """The targets of the rows of a block as columns."""
    y = np.asarray(block.y)
    return y[:, None] if y.ndim == 1 else y


@dataclass(frozen=True)
class GroupedMean:
    """The mean of y of each group."""

    missing = True

    def learn(self, view: GroupView) -> Stacked:
        moments = view.reduce(_target_moments)
        n = np.where(moments.n > 0, moments.n, np.nan)
        spread = moments.products[:, 0]
        return {
            "constant_": moments.mean[:, 0],
            "rmse": np.sqrt(spread / n),
            "r2": np.where(spread > 0, 0.0, 1.0),
        }

    def apply(self, X: np.ndarray, learned: Stacked, place: np.ndarray) -> np.ndarray:
        """The mean of each row's group.

        Parameters
        ----------
        X : not looked at.
        learned : what `learn` gave.
        place : ndarray of shape (rows,), the place of each row's group.
        """
        return learned["constant_"][place]

    def beside(self) -> dict[str, Any]:
        return {"features_": []}


def _target_moments(block: GroupBlock) -> GroupedCoMoments:
    return GroupedCoMoments.of(block.segments, block.joint[-1:], block.weight)
