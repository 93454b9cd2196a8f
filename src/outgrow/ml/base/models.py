"""Models: estimators that learn from a matrix and predict."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar, Self

import numpy as np
from sklearn.base import ClassifierMixin, ClusterMixin, DensityMixin, RegressorMixin
from sklearn.utils.validation import check_is_fitted

from outgrow.data.batch import Batch
from outgrow.data.matrix import is_sparse
from outgrow.engine.blocks import MatrixSpec
from outgrow.engine.checks import check_finite
from outgrow.engine.folded import FoldedView
from outgrow.engine.matrix import MatrixView
from outgrow.engine.open import is_table
from outgrow.engine.shard import Shard
from outgrow.errors import DataError
from outgrow.ml import evaluation
from outgrow.ml.base.verbs import Verbs
from outgrow.ml.core.candidates import Candidate
from outgrow.ml.core.exports import no_equal
from outgrow.ml.core.inputs import array_rows, checked_array, open_rows, open_training
from outgrow.ml.core.outputs import as_given, collect, is_lazy, own
from outgrow.ml.core.roles import checked_roles
from outgrow.ml.core.scoring import DENSITIES, DISTANCES, MARGINS, NUMBERS, PROBABILITIES, Scoring
from outgrow.ml.core.task import Task, target_names, width
from outgrow.ml.export.sklearn.flow import Flow
from outgrow.ml.expression import expression
from outgrow.ml.predictor import AnswersBeside, Predictor

FEW_CELLS = 1 << 16
"""Up to so many numbers of an array are answered at once, in the thread that asks."""
PREDICTION, DECISION, LOG_DENSITY = "prediction", "decision", "log_density"
VERSION = "model_version"
"""The column of tables of predictions that says which version of a model made them."""


class Model(Verbs):
    """Learns from a matrix and predicts. Hook: `_fit(view)`; `_fit_many` where settings share passes."""

    roles: ClassVar[dict[str, bool]] = {}
    """What else it learns from beside y and weights, such as an exposure, and whether it cannot do without:
    `fit` takes a keyword of that name, a column of numbers or an array; `block.roles` holds them."""

    role_labels: ClassVar[tuple[str, ...]] = ()
    """Those of the roles whose values may be of any kind, such as text; `block.roles` holds numbers."""

    role_times: ClassVar[tuple[str, ...]] = ()
    """Those of the roles whose values may be dates or times; `block.roles` holds numbers in their order."""

    _labels: ClassVar[bool] = False
    _missing: ClassVar[bool] = False

    _samples: ClassVar[bool] = False
    """Whether it chooses rows at random: by their hashes, so that any partitioning chooses the same."""

    _by_rows: ClassVar[bool] = False
    """Whether its matrix is laid out row by row: it looks at whole rows, not at columns."""

    _scoring: ClassVar[Scoring]
    """How it is judged."""

    learns_from_matrix: ClassVar[bool] = True
    """Whether it learns from a resident matrix, beside which held-out rows can be watched."""

    tells_rounds: ClassVar[bool] = False
    """Whether it shows on watched rows how well it does while it learns."""

    target_names_: list[str] | None = None
    """What several targets are called; None where there is one."""

    answers_several: bool = False
    """Whether it predicts several numbers for each row even of one target, as of several quantiles."""

    shared_fit_parameters: ClassVar[tuple[str, ...] | None] = None
    """Parameters in which the candidates of `_fit_many` may differ; None where it is not implemented."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        if "roles" in vars(cls):  # which scikit-learn's routing cannot read from the signature of fit
            setattr(cls, "__metadata_request__fit", dict.fromkeys(cls.roles))
        super().__init_subclass__(**kwargs)

    def _fit(self, view: MatrixView) -> None:
        raise NotImplementedError

    @classmethod
    def _fit_many(cls, rows: FoldedView, candidates: Sequence[Candidate]) -> None:
        """Let each candidate's model learn what its `fit` would, from its fold, in passes all share.

        The candidates come in the order of their folds. One that cannot learn notes its error; an error that
        is raised ends all of them.
        """
        raise NotImplementedError

    def _learner_of_columns(self, view: MatrixView) -> Callable[[Any, np.ndarray], None]:
        """What lets models like this one learn from some of the features, one after the other.

        Parameters
        ----------
        view : the rows with all features.

        Returns
        -------
        A function of a model with the same parameters, which has noted its features, and of their places.
        """
        return lambda model, columns: model._fit(view.narrowed(columns))

    def _fit_shard(self, shard: Shard, task: Task, *, last: bool = True) -> None:
        shard = self._prepared(shard, task)
        self._fit(shard.matrix(self._expect_features(shard, task), last=last))

    def _prepared(self, shard: Shard, task: Task) -> Shard:
        """The rows as the matrix is made of them; what the model must know of the columns is noted."""
        return shard

    def _expect_features(self, shard: Shard, task: Task) -> MatrixSpec:
        """Note the features and targets there are; what the matrix of them must be."""
        self.target_names_ = target_names(shard.example, task)
        self.features_ = task.features(shard.example)
        if not width(shard.example, self.features_):
            raise DataError(
                f"Found array with 0 feature(s): no column reaches {type(self).__name__}. Steps before it "
                "left out all of them, as an imputer does with columns without a value. Give others."
            )
        return MatrixSpec(
            tuple(self.features_),
            task.target,
            task.weight,
            labels=self._labels,
            missing=self._missing,
            hashed=task.columns if self._samples else (),
            roles=tuple((role, name) for role, name in task.roles.items() if role in self.roles),
            labelled=self.role_labels,
            timed=self.role_times,
            by_rows=self._by_rows,
        )

    def _given_roles(
        self, given: dict[str, Any], owner: str = "", prefix: str = "", verb: str = "fit"
    ) -> dict[str, Any]:
        """The roles that are given to a verb of `owner`, by default this class; see `checked_roles`."""
        needed = self.roles if verb == "fit" else dict.fromkeys(self.roles, False)
        return checked_roles(needed, given, f"{owner or type(self).__name__}.{verb}", prefix)

    def _to_sklearn(self, name: str, flow: Flow) -> Flow:
        return self._sklearn_features(flow).ending(name, self._sklearn_model())

    def _sklearn_model(self) -> Any:
        """The fitted equal of this model, for a matrix of its features."""
        raise no_equal(self, "scikit-learn")

    def _name_features(self, made: Any, names: np.ndarray) -> None:
        """Note the names of the features on the equal of this model, and on what it hands its X on to.

        Parameters
        ----------
        made : what `_sklearn_model` gave.
        names : of its features.
        """
        made.feature_names_in_ = names

    def _sklearn_features(self, flow: Flow) -> Flow:
        """The flow with the features that the model looks at, in their order."""
        return flow.in_order(self._used_features()) if self.features_ else flow

    def _used_features(self) -> list[str]:
        """The features that the model looks at, by the names of their columns."""
        return self.features_

    def udf(self, method: str = "predict") -> Any:
        """The model as a function for the expressions of Spark DataFrames, from Spark 4.1 on.

        Called without arguments, it takes the columns of the fit by their names; otherwise columns in the
        order of the fit, or one struct of them. A row that cannot be scored fails the query.

        Parameters
        ----------
        method : 'predict', or 'predict_proba' and 'decision_function' where the model has them; with several
            values a row they come as an array.

        Examples
        --------
        >>> late = model.udf()                                               # doctest: +SKIP
        >>> frame.withColumn("late", late()).where(late("age", "distance"))  # doctest: +SKIP
        >>> spark.udf.register("late", late.function)                        # doctest: +SKIP
        """
        check_is_fitted(self)
        return expression(self, method)

    def _matrix(self, batch: Batch) -> Any:
        """The features of a batch, checked; dense where the model takes no others."""
        order: Any = "C" if self._by_rows else "F"
        X = batch.matrix(self.features_, order=order)
        check_finite(X.data if is_sparse(X) else X, "X", missing=self._missing)
        return X if not is_sparse(X) or self.__sklearn_tags__().input_tags.sparse else X.toarray(order=order)

    def _predict_batch(self, method: str, batch: Batch) -> np.ndarray:
        """What a public method says of the rows of a batch."""
        return getattr(self, f"_{method}")(self._matrix(batch))

    @classmethod
    def _predict_many(cls, models: Sequence[Any], method: str, X: Any) -> Any:
        """What each of several models with the same features says of the rows of a matrix: a sequence."""
        return [getattr(model, f"_{method}")(X) for model in models]

    def _prediction_names(self, method: str) -> list[str]:
        """The columns in which a lazy table gets the answers."""
        return [PREDICTION]

    def _answers_matrix(self, values: Any) -> bool:
        """Whether few numbers need no columns: for one row those take longer than its answer."""
        kind = type(self)
        plain = kind._predict_batch is Model._predict_batch and kind._matrix is Model._matrix
        return plain and not is_sparse(values) and values.dtype.kind in "biuf" and values.size <= FEW_CELLS

    def _respond(self, X: Any, method: str, through: Any = None) -> Any:
        """The answers for X, as an array; for lazy tables, as columns beside those of X.

        `through` is the pipeline whose last step this is.
        """
        owner = self if through is None else through
        check_is_fitted(owner)
        if not is_table(X):
            values = checked_array(owner, X)
            if through is None and self._answers_matrix(values):
                return own(getattr(self, f"_{method}")(np.asarray(values, order="F")), X)
            rows = array_rows(owner, values)
        else:
            rows = open_rows(owner, X)
        predictor = Predictor(owner)
        if is_lazy(X):
            return as_given(rows.map(AnswersBeside(predictor, method)), X)
        return collect(rows, lambda batch: predictor.answer(batch, method))


class Supervised(Model):
    """A model that learns to predict y."""

    def fit(self, X: Any, y: Any = None, sample_weight: Any = None, **roles: Any) -> Self:
        """Learn from rows.

        Parameters
        ----------
        X : dataset, Spark DataFrame, table, or array of shape (rows, columns).
        y : the name of a column of X, or an array of shape (rows,). Models that learn several targets at once
            also take names of columns, the name of a column of vectors, or an array of shape (rows, targets);
            classifiers of them the name of a column of lists of labels: each label is a target of 0 and 1.
        sample_weight : the name of a column of X, or an array of shape (rows,).
        **roles : what else the model learns from, if its `roles` name anything: the name of a column of X, or
            an array of shape (rows,). Such columns are no features.

        Raises
        ------
        ParameterError
            When the model has no such role, or one that it needs is not given.
        """
        self.check_parameters()
        given = self._given_roles(roles)
        return self._fit_on_engine(open_training(self, X, y, sample_weight, roles=given))

    def evaluate(self, X: Any, y: Any, sample_weight: Any = None, **roles: Any) -> Any:
        """The metrics of the predictions for rows with known y, from one pass.

        With several targets each metric is the mean over them, but accuracy the share of rows of which all
        are right; those of each are `<metric>_<target>`.

        Parameters
        ----------
        X : rows with the columns of the fit, in any form that `fit` takes.
        y : the name of a column of X, or an array of shape (rows,); of several targets as for `fit`.
        sample_weight : the name of a column of X, or an array of shape (rows,), by which rows count.
        **roles : what else the model is judged by, if its `roles` name anything, such as which times are
            censored: as for `fit`.

        Returns
        -------
        Scores
            A mapping of metrics by name, with the state they were read from.
        """
        return evaluation.evaluate(self, X, y, sample_weight, self._given_roles(roles, verb="evaluate"))

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.required = True
        tags.input_tags.sparse = True
        tags.input_tags.allow_nan = self._missing
        return tags


class Regressor(RegressorMixin, Supervised):
    """Predicts a number, or one for each of several targets. Hook: `_predict(X)`."""

    _scoring = NUMBERS
    score_metric: ClassVar[str] = "r2"
    """Which metric of `evaluate` is the `score`."""

    def _predict(self, X: Any) -> np.ndarray:
        raise NotImplementedError

    def predict(self, X: Any) -> Any:
        """Predicted values: an array, or for datasets and Spark DataFrames their columns and `prediction`.

        With several targets the array has shape (rows, targets), the columns are `prediction_<target>`.
        """
        return self._respond(X, "predict")

    def _prediction_names(self, method: str) -> list[str]:
        if self.target_names_ is None:
            return super()._prediction_names(method)
        return [f"{PREDICTION}_{name}" for name in self.target_names_]

    def score(self, X: Any, y: Any, sample_weight: Any = None, **roles: Any) -> float:
        """R2 of the predictions, or what `score_metric` names; with several targets, the mean of theirs.

        Parameters
        ----------
        X, y, sample_weight, **roles : as for `evaluate`.
        """
        return float(self.evaluate(X, y, sample_weight, **roles)[self.score_metric])


class Classifier(ClassifierMixin, Supervised):
    """Predicts a class. Hook: `_predict(X)`, of shape (rows,)."""

    _labels = True
    score_metric: ClassVar[str] = "accuracy"
    classes_: np.ndarray

    def _predict(self, X: Any) -> np.ndarray:
        raise NotImplementedError

    def predict(self, X: Any) -> Any:
        """Predicted classes: an array, or for lazy tables their columns and `prediction`."""
        return self._respond(X, "predict")

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """Accuracy of the predictions; with several targets, of all of them together.

        Parameters
        ----------
        X, y, sample_weight : as for `evaluate`.
        """
        return float(self.evaluate(X, y, sample_weight)["accuracy"])

    def _prediction_names(self, method: str) -> list[str]:
        if method == "predict":
            return [PREDICTION]
        if method == "decision_function" and len(self.classes_) == 2:
            return [DECISION]
        stems = {"predict_proba": "probability", "predict_log_proba": "log_probability"}
        return [f"{stems.get(method, DECISION)}_{label}" for label in self.classes_]

    def _learn_classes(self, view: MatrixView) -> int:
        """Note the classes; there must be two."""
        self.classes_ = view.classes
        if len(self.classes_) < 2:
            raise DataError(
                f"{type(self).__name__} needs samples of at least 2 classes in the target, "
                f"but the data contains only one class: {self.classes_.tolist()[0]!r}."
            )
        return len(self.classes_)


class MarginClassifier(Classifier):
    """Predicts by margins, which are no probabilities. Hook: `_decision_function(X)`.

    Margins have shape (rows,) for two classes, of which the second is where they are positive; otherwise
    shape (rows, classes).
    """

    _scoring = MARGINS

    def _decision_function(self, X: Any) -> np.ndarray:
        raise NotImplementedError

    def _predict(self, X: Any) -> np.ndarray:
        margins = self._decision_function(X)
        return self.classes_[np.argmax(margins, axis=1) if margins.ndim == 2 else (margins > 0).astype(int)]

    def decision_function(self, X: Any) -> Any:
        """Margins: shape (rows,) for two classes, otherwise (rows, classes); for lazy tables columns
        `decision`, or `decision_<class>`."""
        return self._respond(X, "decision_function")


class ProbabilityClassifier(Classifier):
    """Predicts probabilities of classes. Hook: `_predict_proba(X)`, of shape (rows, classes)."""

    _scoring = PROBABILITIES

    def _predict_proba(self, X: Any) -> np.ndarray:
        raise NotImplementedError

    def _predict(self, X: Any) -> np.ndarray:
        return self._most_probable(self._predict_proba(X))

    def _most_probable(self, chances: np.ndarray) -> np.ndarray:
        return self.classes_[np.argmax(chances, axis=1)]

    def predict_proba(self, X: Any) -> Any:
        """Probabilities of shape (rows, classes); for lazy tables columns `probability_<class>`."""
        return self._respond(X, "predict_proba")

    def predict_log_proba(self, X: Any) -> Any:
        """Logarithms of the probabilities; for lazy tables columns `log_probability_<class>`."""
        return self._respond(X, "predict_log_proba")

    def _predict_log_proba(self, X: Any) -> np.ndarray:
        with np.errstate(divide="ignore"):
            return np.log(self._predict_proba(X))


class Unsupervised(Model):
    """A model that learns without y. Hook: `_predict(X)`, the index of each row's group."""

    def fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> Self:
        """Learn from rows.

        Parameters
        ----------
        X : dataset, Spark DataFrame, table, or array of shape (rows, columns).
        y : the name of a column of X that is no feature, or several; anything else is ignored.
        sample_weight : the name of a column of X, or an array of shape (rows,).
        """
        self.check_parameters()
        return self._fit_on_engine(open_training(self, X, y, sample_weight))

    def predict(self, X: Any) -> Any:
        """The group of each row: an array, or for lazy tables their columns and `prediction`."""
        return self._respond(X, "predict")

    def fit_predict(self, X: Any, y: Any = None, sample_weight: Any = None) -> Any:
        """Learn from rows, then give each row's group.

        Parameters
        ----------
        X, y, sample_weight : as for `fit`.
        """
        return self.fit(X, y, sample_weight=sample_weight).predict(X)

    def _predict(self, X: Any) -> np.ndarray:
        raise NotImplementedError

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags


class Clusterer(ClusterMixin, Unsupervised):
    """Finds clusters. Hook: `_predict(X)`, the index of each row's cluster."""

    _scoring = DISTANCES


class DensityModel(DensityMixin, Unsupervised):
    """Tells how dense rows lie. Hooks: `_score_samples(X)`, logarithms of densities, and `_predict(X)`."""

    _scoring = DENSITIES

    def _score_samples(self, X: Any) -> np.ndarray:
        raise NotImplementedError

    def score_samples(self, X: Any) -> Any:
        """The logarithm of the density at each row: an array, or for lazy tables a column `log_density`."""
        return self._respond(X, "score_samples")

    def evaluate(self, X: Any, y: Any = None, sample_weight: Any = None) -> Any:
        """The mean logarithm of the density, `log_likelihood`, from one pass.

        Parameters
        ----------
        X : rows with the columns of the fit, in any form that `fit` takes.
        y : ignored.
        sample_weight : the name of a column of X, or an array of shape (rows,), by which rows count.

        Returns
        -------
        Scores
            A mapping of metrics by name, with the state they were read from.
        """
        return evaluation.evaluate(self, X, None, sample_weight)

    def score(self, X: Any, y: Any = None, sample_weight: Any = None) -> float:
        """The mean logarithm of the density at rows.

        Parameters
        ----------
        X, y, sample_weight : as for `evaluate`.
        """
        return float(self.evaluate(X, y, sample_weight)["log_likelihood"])

    def _prediction_names(self, method: str) -> list[str]:
        return [LOG_DENSITY] if method == "score_samples" else super()._prediction_names(method)
