"""What every estimator is: parameters of scikit-learn's kind, and a few hooks.

A transformer implements `_fit(shard, names, task)` and `_transform_columns(batch, names)`; a model implements
`_fit(view)` and `_predict(X)` or `_predict_proba(X)`. Everything else (opening data, choosing
the engine, checking columns, giving results in the form of the input, saving) is here, once.

`_fit` sets attributes that end in an underscore; they are what is saved, and all that a cluster sends back.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin, TransformerMixin, clone
from sklearn.utils.validation import check_is_fitted

from outgrow.data.batch import Batch, is_sparse
from outgrow.data.kind import Kind, read_kinds
from outgrow.engine.checks import check_finite
from outgrow.engine.folded import FoldedView
from outgrow.engine.matrix import MatrixSpec, MatrixView
from outgrow.engine.shard import Shard
from outgrow.errors import ArtifactError, DataError
from outgrow.ml.core.columns import Columns, resolve
from outgrow.ml.core.inputs import Training, as_given, collect, in_form, is_lazy, open_rows, open_training
from outgrow.ml.core.task import Task, column_names, names_after, promised_example, target_names
from outgrow.ml.predictor import AnswersBeside, Predictor

if TYPE_CHECKING:
    from outgrow.ml.core.candidates import Candidate
    from outgrow.ml.grouped import GroupForm

PREDICTION, DECISION = "prediction", "decision"


class Estimator(BaseEstimator):
    """The base of all estimators; subclasses give their parameters in `__init__` and implement the hooks."""

    ranks_differ: ClassVar[dict[str, str]] = {}
    """Checks of `outgrow.testing` that do not hold on several ranks, with the reason."""

    without_effect: ClassVar[tuple[str, ...]] = ()
    """Parameters that scikit-learn's class of this name has and that change nothing here, such as `n_jobs`:
    they are accepted, so that code can stay as it is."""

    former_parameters: ClassVar[dict[str, str]] = {}
    """Parameters as models name them that were saved before a parameter got its present name."""

    _frees_lock: ClassVar[bool] = False
    """Whether Python's lock is free while it learns, so that threads suffice to learn several at once."""

    _follows_type: tuple[str, ...] = ()
    """Learned arrays that are float32 where the fit was given an array of float32, as in scikit-learn."""

    _trusted: bool = True
    """Whether this session made what it holds; what was loaded stays a stranger's wherever it goes."""

    _classes: ClassVar[dict[str, type[Estimator]]] = {}

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        Estimator._classes[f"{cls.__module__}:{cls.__qualname__}"] = cls

    # ---- hooks -------------------------------------------------------------------------------------------

    def _check_parameters(self) -> None:
        """Raise ParameterError for values that cannot be; called before any data is read."""

    def _fit_shard(self, shard: Shard, task: Task, *, last: bool = True) -> None:
        """Learn from the rows of a shard by setting attributes that end in an underscore."""
        raise NotImplementedError

    def _restored(self) -> None:
        """Called after learned attributes were set from outside."""

    def _group_form(self) -> GroupForm | None:
        """How this is fitted for many groups at once; None where each has to be fitted by itself."""
        return None

    # ---- what hooks stand on -----------------------------------------------------------------------------

    def _fit_on_engine(self, data: Training) -> Self:
        task = Task(data.target, data.weight, tuple(self.columns_), data.weighted_step, named=data.named)
        worker = self._worker()
        engine, scan = data.dataset.engine, data.dataset.scan

        def fit(shard: Shard) -> dict[str, Any]:
            worker._fit_shard(shard, task)
            return worker._learned()

        wanted = [*task.columns, *data.beside]
        if set(wanted) != set(scan.schema.names):
            scan = scan.select(wanted)
        stage = f"fit {type(self).__name__}"
        fitted = engine.fit(fit, scan, stage=stage, identity=lambda: self._identity(task))
        self._restore(data.in_type(fitted.result, self._follows_type))
        self._trusted = True
        self.fit_record_ = fitted.record
        return self

    def _worker(self) -> Self:
        """What learns in place of this, wherever the rows are."""
        return clone(self)

    def _identity(self, task: Task) -> dict[str, Any]:
        """What tells this fit from others over the same rows."""
        from outgrow.ml.persistence import describe

        return {
            "estimator": describe(self._worker()),
            "task": [task.target, task.weight, task.weighted_step, *task.columns],
        }

    def _learned(self) -> dict[str, Any]:
        """What was learned, as an artifact can store it."""
        return {
            name: value
            for name, value in sorted(vars(self).items())
            if name.endswith("_") and not name.startswith("_") and name != "fit_record_"
        }

    def _expect(self, columns: dict[str, Kind]) -> None:
        """Note the columns (name to kind) that later calls must bring."""
        self.columns_ = columns
        self.n_features_in_ = len(columns)
        self.feature_names_in_ = np.array(list(columns), dtype=object)

    def _restore(self, learned: dict[str, Any]) -> None:
        other = [name for name in learned if name.startswith("_") or not name.endswith("_")]
        if other:
            raise ArtifactError(f"A {type(self).__name__} learns nothing that is called {other}.")
        self.__dict__.update(learned)
        if "columns_" in learned:
            self.columns_ = read_kinds(learned["columns_"])
        self._restored()

    def save(
        self, path: str | os.PathLike[str], *, input_example: Any = None, overwrite: bool = False
    ) -> None:
        """Write the fitted estimator as a directory of JSON and arrays, whole or not at all.

        Parameters
        ----------
        path : the directory to make.
        input_example : a table or dataset with the columns of the fit, whose first row is kept beside the
            model: the pages of `outgrow serve` show it. Nothing of the rows is kept unless it is given.
        overwrite : whether a model that is there already may be replaced.

        Raises
        ------
        SchemaError
            When the example lacks columns of the fit.
        OutputExistsError
            When the path exists and `overwrite` is false.

        Examples
        --------
        >>> import tempfile, numpy as np, outgrow as og
        >>> model = og.LinearRegression().fit(np.array([[1.0], [2.0], [3.0]]), np.array([2.0, 4.0, 6.0]))
        >>> path = tempfile.mkdtemp() + "/double"
        >>> model.save(path)
        >>> og.load(path).predict(np.array([[10.0]])).round(6).tolist()
        [20.0]
        """
        from outgrow.ml.persistence import save

        check_is_fitted(self)
        save(self, path, input_example=input_example, overwrite=overwrite)

    def to_onnx(self, path: str | os.PathLike[str], *, overwrite: bool = False) -> None:
        """Write the fitted estimator as one ONNX file that answers as it does, whole or not at all.

        Each column is an input of shape (rows, 1): numbers as float64 with NaN for missing ones, text as
        strings with empty text for missing ones. Outputs are `prediction`, for classifiers `probabilities`,
        and for transformers `transformed`. It needs the extra `onnx`.

        Raises
        ------
        ExportError
            When a step has no exact equal in ONNX; the message names it.
        OutputExistsError
            When the path exists and `overwrite` is false.

        Examples
        --------
        >>> import tempfile, numpy as np, onnxruntime, outgrow as og
        >>> model = og.LinearRegression().fit(np.array([[1.0], [2.0], [3.0]]), np.array([2.0, 4.0, 6.0]))
        >>> path = tempfile.mkdtemp() + "/double.onnx"
        >>> model.to_onnx(path)
        >>> onnxruntime.InferenceSession(path).run(["prediction"], {"x0": [[10.0]]})[0].round(6).tolist()
        [20.0]
        """
        from outgrow.ml.export.onnx.file import write

        check_is_fitted(self)
        write(self, path, overwrite=overwrite)

    def to_sklearn(self) -> Any:
        """A fitted object of scikit-learn that answers as this one does.

        It takes DataFrames with the columns of the fit, or arrays where the fit took one, and needs no
        outgrow. Models of trees become XGBoost's own classes for scikit-learn.

        Raises
        ------
        ExportError
            When a step has no equal; the message names it.

        Examples
        --------
        >>> import numpy as np, outgrow as og
        >>> model = og.LinearRegression().fit(np.array([[1.0], [2.0], [3.0]]), np.array([2.0, 4.0, 6.0]))
        >>> model.to_sklearn()
        LinearRegression()
        >>> model.to_sklearn().predict([[10.0]]).round(6).tolist()
        [20.0]
        """
        from outgrow.ml.export.sklearn.pipeline import equal

        check_is_fitted(self)
        return equal(self)


class Transformer(TransformerMixin, Estimator):
    """Changes columns, row by row, in a way it learned.

    Hooks: `_fit(shard, names, task)` and `_transform_columns(batch, names)`; `names` are the columns it works
    on.
    """

    columns: Columns

    takes_dictionaries: ClassVar[bool] = False
    """Whether `_transform_columns` also takes text as Arrow dictionaries; otherwise it is decoded before."""

    def fit(self, X: Any, y: Any = None) -> Self:
        """Learn from rows.

        Parameters
        ----------
        X : dataset, Spark DataFrame, table, or array of shape (rows, columns).
        y : the name of a column of X to leave out; otherwise ignored.
        """
        self._check_parameters()
        return self._fit_on_engine(open_training(self, X, y, None))

    def transform(self, X: Any) -> Any:
        """The rows of X, changed; in the form X has."""
        check_is_fitted(self)
        return in_form(self, as_given(open_rows(self, X).map(self._transform), X), X)

    def get_feature_names_out(self, input_features: Any = None) -> np.ndarray:
        """Names of the columns that `transform` gives; `input_features` are those of an array's columns."""
        check_is_fitted(self)
        names = column_names(self._transform(promised_example(self.columns_)))
        return names if input_features is None else names_after(self, names, input_features)

    def _fit(self, shard: Shard, names: list[str], task: Task) -> None:
        raise NotImplementedError

    def _transform_columns(self, batch: Batch, names: list[str]) -> Batch:
        raise NotImplementedError

    def _fit_shard(self, shard: Shard, task: Task, *, last: bool = True) -> None:
        self.selected_ = resolve(self.columns, shard.example, task.features(shard.example))
        self._fit(shard, self.selected_, task)

    def _transform(self, batch: Batch) -> Batch:
        return self._transform_columns(batch, self.selected_) if self.selected_ else batch


class WeightedTransformer(Transformer):
    """A transformer for which rows may count more or less."""

    def fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> Self:
        """Learn from rows.

        Parameters
        ----------
        X : dataset, Spark DataFrame, table, or array of shape (rows, columns).
        y : the name of a column of X to leave out; otherwise ignored.
        sample_weight : the name of a column of X, or an array of shape (rows,).
        """
        self._check_parameters()
        return self._fit_on_engine(open_training(self, X, y, sample_weight))


class Model(Estimator):
    """Learns from a matrix and predicts. Hook: `_fit(view)`; `_fit_many` where settings share passes."""

    _labels: ClassVar[bool] = False
    _missing: ClassVar[bool] = False

    _samples: ClassVar[bool] = False
    """Whether it chooses rows at random: by their hashes, so that any partitioning chooses the same."""

    learns_from_matrix: ClassVar[bool] = True
    """Whether it learns from a resident matrix, beside which held-out rows can be watched."""

    tells_rounds: ClassVar[bool] = False
    """Whether it shows on watched rows how well it does while it learns."""

    target_names_: list[str] | None = None
    """What several targets are called; None where there is one."""

    shared_fit_parameters: ClassVar[tuple[str, ...] | None] = None
    """Parameters in which the candidates of `_fit_many` may differ; None where it is not implemented."""

    def _fit(self, view: MatrixView) -> None:
        raise NotImplementedError

    @classmethod
    def _fit_many(cls, rows: FoldedView, candidates: Sequence[Candidate]) -> None:
        """Let each candidate's model learn what its `fit` would, from its fold, in passes all share.

        The candidates come in the order of their folds. One that cannot learn notes its error; an error that
        is raised ends all of them.
        """
        raise NotImplementedError

    def _fit_shard(self, shard: Shard, task: Task, *, last: bool = True) -> None:
        self._fit(shard.matrix(self._expect_features(shard, task), last=last))

    def _expect_features(self, shard: Shard, task: Task) -> MatrixSpec:
        """Note the features and targets there are; what the matrix of them must be."""
        self.target_names_ = target_names(shard.example, task)
        self.features_ = task.features(shard.example)
        if not len(column_names(shard.example.select(self.features_))):
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
        )

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
        from outgrow.ml.expression import expression

        check_is_fitted(self)
        return expression(self, method)

    def _matrix(self, batch: Batch) -> Any:
        """The features of a batch, checked."""
        X = batch.matrix(self.features_)
        check_finite(X.data if is_sparse(X) else X, "X", missing=self._missing)
        return X

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

    def _respond(self, X: Any, method: str, through: Any = None) -> Any:
        """The answers for X, as an array; for lazy tables, as columns beside those of X.

        `through` is the pipeline whose last step this is.
        """
        owner = self if through is None else through
        check_is_fitted(owner)
        rows = open_rows(owner, X)
        predictor = Predictor(owner)
        if is_lazy(X):
            return as_given(rows.map(AnswersBeside(predictor, method)), X)
        return collect(rows, lambda batch: predictor.answer(batch, method))


class Supervised(Model):
    """A model that learns to predict y."""

    def fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> Self:
        """Learn from rows.

        Parameters
        ----------
        X : dataset, Spark DataFrame, table, or array of shape (rows, columns).
        y : the name of a column of X, or an array of shape (rows,). Models that learn several targets at once
            also take names of columns, the name of a column of vectors, or an array of shape (rows, targets).
        sample_weight : the name of a column of X, or an array of shape (rows,).
        """
        self._check_parameters()
        return self._fit_on_engine(open_training(self, X, y, sample_weight))

    def evaluate(self, X: Any, y: Any, sample_weight: Any = None) -> Any:
        """The metrics of the predictions for rows with known y, from one pass.

        With several targets each metric is the mean over them; those of each are `<metric>_<target>`.
        """
        from outgrow.ml.evaluation import evaluate

        return evaluate(self, X, y, sample_weight)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.required = True
        tags.input_tags.sparse = True
        tags.input_tags.allow_nan = self._missing
        return tags


class Regressor(RegressorMixin, Supervised):
    """Predicts a number, or one for each of several targets. Hook: `_predict(X)`."""

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

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """R2 of the predictions; with several targets, the mean of theirs."""
        return float(self.evaluate(X, y, sample_weight)["r2"])


class Classifier(ClassifierMixin, Supervised):
    """Predicts a class. Hook: `_predict_proba(X)`, of shape (rows, classes)."""

    _labels = True
    classes_: np.ndarray

    def _predict_proba(self, X: Any) -> np.ndarray:
        raise NotImplementedError

    def _predict(self, X: Any) -> np.ndarray:
        return self._most_probable(self._predict_proba(X))

    def _most_probable(self, chances: np.ndarray) -> np.ndarray:
        return self.classes_[np.argmax(chances, axis=1)]

    def predict(self, X: Any) -> Any:
        """Predicted classes: an array, or for lazy tables their columns and `prediction`."""
        return self._respond(X, "predict")

    def predict_proba(self, X: Any) -> Any:
        """Probabilities of shape (rows, classes); for lazy tables columns `probability_<class>`."""
        return self._respond(X, "predict_proba")

    def predict_log_proba(self, X: Any) -> Any:
        """Logarithms of the probabilities; for lazy tables columns `log_probability_<class>`."""
        return self._respond(X, "predict_log_proba")

    def _predict_log_proba(self, X: Any) -> np.ndarray:
        with np.errstate(divide="ignore"):
            return np.log(self._predict_proba(X))

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """Accuracy of the predictions."""
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
