"""Steps one after the other, fitted in one go where the data is."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any, ClassVar, Self

import numpy as np
from sklearn.exceptions import NotFittedError
from sklearn.utils import Bunch
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted

from outgrow.data.batch import Batch
from outgrow.engine.shard import Shard
from outgrow.errors import ColumnNotFoundError, ParameterError, ValueTypeError
from outgrow.ml.adapters import Foreign, as_step
from outgrow.ml.base import Estimator, Model, Transformer
from outgrow.ml.inputs import as_given, open_rows, open_training
from outgrow.ml.task import Task, column_names, kinds_of, promised_example

Step = Any
"""An estimator, a (name, estimator) pair, or 'passthrough' in the place of an estimator."""


def _last_has(method: str) -> Callable[[Callable[..., Any]], Any]:
    """Available where the last step has the method, as scikit-learn's pipelines have it."""
    return available_if(lambda self: hasattr(self.model, method) or hasattr(self.step_items[-1][1], method))


def _steps_invert(pipeline: Pipeline) -> bool:
    return all(hasattr(_plainly(step), "inverse_transform") for _, step in pipeline.active_steps)


class Pipeline(Estimator):
    """Transformers, and a model at the end.

    The whole pipeline is one fit: on Spark, one barrier job. Each step works on the columns it names and
    passes the others on; the model learns from all columns that reach it.

    Steps may be of scikit-learn, or of a library that follows its conventions: such a step works on all
    columns that reach it, and learns from all rows at once, so it needs them in one place (no cluster).

    Parameters
    ----------
    steps : estimators, or (name, estimator) pairs. Names default to the class name in lower case, as in
        `sklearn.pipeline.make_pipeline`, and give access to parameters: `logisticregression__C`.
        'passthrough' in place of an estimator leaves the step out.
    memory, verbose, transform_input : as scikit-learn has them; they change nothing here. A search keeps what
        steps have learned by itself; `og.listen` hears of progress.

    Examples
    --------
    >>> import numpy as np, outgrow as og
    >>> X, y = np.array([[1.0], [np.nan], [3.0], [4.0]]), np.array([0, 0, 1, 1])
    >>> pipe = og.Pipeline([og.SimpleImputer(), og.LogisticRegression(C=10.0)])
    >>> pipe.fit(X, y).predict(X).tolist()
    [0, 0, 1, 1]
    >>> pipe[:-1].transform(X).round(2).ravel().tolist()
    [1.0, 2.67, 3.0, 4.0]
    """

    without_effect: ClassVar[tuple[str, ...]] = ("memory", "verbose", "transform_input")

    def __init__(
        self,
        steps: Sequence[Step],
        *,
        transform_input: Any = None,
        memory: Any = None,
        verbose: bool = False,
    ) -> None:
        self.steps = steps
        self.transform_input = transform_input
        self.memory = memory
        self.verbose = verbose

    # ---- its steps ---------------------------------------------------------------------------------------

    @property
    def step_items(self) -> list[tuple[str, Any]]:
        """The steps as (name, estimator) pairs, in their order."""
        items: list[tuple[str, Any]] = []
        for step in self.steps:
            name, estimator = step if isinstance(step, tuple | list) else (type(step).__name__.lower(), step)
            if not isinstance(step, tuple | list):
                taken = {other for other, _ in items}
                numbered = (name if i == 1 else f"{name}{i}" for i in range(1, len(items) + 2))
                name = next(candidate for candidate in numbered if candidate not in taken)
            items.append((name, estimator))
        return items

    @property
    def named_steps(self) -> Bunch:
        """The steps by name: `pipe.named_steps["scale"]` or `pipe.named_steps.scale`."""
        return Bunch(**dict(self.step_items))

    @property
    def active_steps(self) -> list[tuple[str, Any]]:
        """The steps that do something, as (name, estimator) pairs; other libraries' behind adapters."""
        fitted = getattr(self, "_adapters", {})

        def worker(name: str, step: Any) -> Any:
            adapter = fitted.get(name)
            return as_step(step) if adapter is None or adapter.estimator is not step else adapter

        return [(name, worker(name, step)) for name, step in self.step_items if not _passes(step)]

    @property
    def model(self) -> Any:
        """The last step, behind an adapter where it is of another library; None where it is 'passthrough'."""
        return None if _passes(self.step_items[-1][1]) else self.active_steps[-1][1]

    def __len__(self) -> int:
        return len(self.steps)

    def __iter__(self) -> Iterator[Any]:
        return (step for _, step in self.step_items)

    def __getitem__(self, key: int | str | slice) -> Any:
        """A step by its name or number; a slice is a pipeline of the same steps."""
        if isinstance(key, slice):
            return self._part(key)
        if isinstance(key, str):
            known = dict(self.step_items)
            if key not in known:
                raise ColumnNotFoundError(f"No step {key!r} among {list(known)}.")
            return known[key]
        return self.step_items[key][1]

    def _part(self, key: slice) -> Pipeline:
        if key.step not in (1, None):
            raise ParameterError("Pipeline slicing only supports a step of 1.")
        part = Pipeline(self.step_items[key], memory=self.memory, verbose=self.verbose)
        part._adapters = getattr(self, "_adapters", {})
        if hasattr(self, "fitted_") and part.active_steps:
            promised = part.active_steps[0][1] if key.start else self
            for source, name in [
                (promised, "columns_"),
                (promised, "n_features_in_"),
                (promised, "feature_names_in_"),
                (self, "target_column_"),
            ]:
                if hasattr(source, name):
                    setattr(part, name, getattr(source, name))
            part.fitted_ = True
        return part

    # ---- fitting -----------------------------------------------------------------------------------------

    def fit(self, X: Any, y: Any = None, sample_weight: Any = None, **params: Any) -> Self:
        """Learn all steps from rows.

        Parameters
        ----------
        X : dataset, Spark DataFrame, table, or array of shape (rows, columns).
        y : the name of a column of X, or an array of shape (rows,).
        sample_weight : the name of a column of X, or an array of shape (rows,); all steps that know weights
            take them.
        **params : `<step>__sample_weight` gives weights to one step alone.

        Raises
        ------
        ParameterError
            When a step cannot transform, or a parameter is not known.
        """
        self._check_parameters()
        weighted, sample_weight = self._weighted_step(params, sample_weight)
        opened = open_training(self, X, y, sample_weight)
        return self._fit_on_engine(replace(opened, weighted_step=weighted))

    def fit_transform(self, X: Any, y: Any = None, sample_weight: Any = None, **params: Any) -> Any:
        """Learn all steps from rows; the rows after all transformers."""
        return self.fit(X, y, sample_weight, **params).transform(X)

    @_last_has("fit_predict")
    def fit_predict(self, X: Any, y: Any = None, sample_weight: Any = None, **params: Any) -> Any:
        """Learn all steps from rows; the last step's predictions for them."""
        return self.fit(X, y, sample_weight, **params).predict(X)

    def _weighted_step(self, params: dict[str, Any], sample_weight: Any) -> tuple[str | None, Any]:
        """The one step that gets the weights, or None for all; and the weights."""
        for key, value in params.items():
            name, _, rest = key.partition("__")
            if rest != "sample_weight" or name not in dict(self.step_items) or sample_weight is not None:
                known = [f"{step}__sample_weight" for step, _ in self.step_items]
                raise ParameterError(
                    f"Pipeline.fit does not accept the {key} parameter. "
                    f"It takes sample_weight, or one of {known}."
                )
            if len(params) > 1:
                raise ParameterError(f"Give one step weights, or all of them: {list(params)} are given.")
            return name, value
        return None, sample_weight

    def _check_parameters(self) -> None:
        if not self.steps:
            raise ParameterError("The pipeline is empty. Please add steps.")
        self._check_names()
        for place, (name, step) in enumerate(self.step_items):
            if not _passes(step):
                self._check_step(name, step, last=place == len(self.steps) - 1)

    def _check_step(self, name: str, step: Any, *, last: bool) -> None:
        known = hasattr(step, "fit") and (last or hasattr(step, "transform"))
        worker = as_step(step)
        if not known or not (last or isinstance(worker, Transformer)):
            needed = "implement fit" if last else "be transformers and implement fit and transform"
            where = "Last step of Pipeline" if last else "All intermediate steps"
            raise ValueTypeError(
                f"{where} should {needed} or be the string 'passthrough'; "
                f"{step!r} (step {name!r}, type {type(step)}) is no such step, and hands no rows on."
            )
        if isinstance(worker, Estimator):
            worker._check_parameters()

    def _check_names(self) -> None:
        names = [name for name, _ in self.step_items]
        if len(set(names)) < len(names):
            raise ParameterError(f"Names provided are not unique: {names}.")
        wrong = [name for name in names if "__" in name]
        if wrong:
            raise ParameterError(f"Estimator names must not contain __: got {wrong}.")
        taken = sorted(set(names) & {"steps", "transform_input", "memory", "verbose"})
        if taken:
            raise ParameterError(f"Estimator names conflict with constructor arguments: {taken}.")

    def _fit_shard(self, shard: Shard, task: Task, *, last: bool = True) -> None:
        stage, steps = shard.run.stage, self.active_steps
        for place, (name, estimator) in enumerate(steps):
            shard.run.stage = f"{stage}: {type(estimator).__name__}"
            final = place == len(steps) - 1
            estimator._expect(kinds_of(shard.example, task))
            estimator._fit_shard(shard, task.weighing(name), last=last and final)
            if isinstance(estimator, Transformer) and not final:
                shard = shard.transformed(estimator._transform, encoded=estimator.takes_dictionaries)
        shard.run.stage = stage
        self._keep_adapters(steps)

    def _learned(self) -> dict[str, Any]:
        own = super()._learned()
        parts = [estimator._learned() for _, estimator in self.active_steps]
        return {**own, "steps_": parts} if any(parts) else own

    def _restore(self, learned: dict[str, Any]) -> None:
        self._adapters: dict[str, Foreign] = {}
        items = self.active_steps
        for (_, estimator), part in zip(items, learned.get("steps_", [{}] * len(items)), strict=True):
            estimator._restore(part)
        self._keep_adapters(items)
        self.fitted_ = True
        super()._restore({name: value for name, value in learned.items() if name != "steps_"})

    def _keep_adapters(self, items: Sequence[tuple[str, Any]]) -> None:
        self._adapters = {name: step for name, step in items if isinstance(step, Foreign)}

    # ---- answering ---------------------------------------------------------------------------------------

    def transform(self, X: Any) -> Any:
        """The rows of X after all transformers, in the form X has."""
        check_is_fitted(self)
        return as_given(open_rows(self, X).map(self._transform_all), X)

    @available_if(_steps_invert)  # type: ignore[untyped-decorator]
    def inverse_transform(self, X: Any) -> Any:
        """What `transform` gave, taken back by all steps from the last to the first."""
        check_is_fitted(self)
        for _, step in reversed(self.active_steps):
            X = _plainly(step).inverse_transform(X)
        return X

    @_last_has("predict")
    def predict(self, X: Any) -> Any:
        """Predictions of the last step: an array, or for lazy tables their columns and `prediction`."""
        return self._respond(X, "predict")

    @_last_has("predict_proba")
    def predict_proba(self, X: Any) -> Any:
        """Probabilities of shape (rows, classes); for lazy tables columns `probability_<class>`."""
        return self._respond(X, "predict_proba")

    @_last_has("predict_log_proba")
    def predict_log_proba(self, X: Any) -> Any:
        """Logarithms of the probabilities, of shape (rows, classes)."""
        return self._respond(X, "predict_log_proba")

    @_last_has("decision_function")
    def decision_function(self, X: Any) -> Any:
        """The last step's scores."""
        return self._respond(X, "decision_function")

    @_last_has("score_samples")
    def score_samples(self, X: Any) -> Any:
        """The last step's score of each row."""
        return self._respond(X, "score_samples")

    @_last_has("udf")
    def udf(self, method: str = "predict") -> Any:
        """The pipeline as a function for the expressions of Spark DataFrames; see the last step's `udf`."""
        from outgrow.ml.expression import expression

        check_is_fitted(self)
        return expression(self, method)

    @_last_has("evaluate")
    def evaluate(self, X: Any, y: Any, sample_weight: Any = None) -> Any:
        """The metrics of the last step over rows, from one pass."""
        from outgrow.ml.evaluation import evaluate

        return evaluate(self, X, y, sample_weight)

    @_last_has("score")
    def score(self, X: Any, y: Any = None, sample_weight: Any = None) -> float:
        """Accuracy of a classifier, R2 of a regressor; the last step's own score where it has neither."""
        if y is None or not hasattr(self, "evaluate"):
            extra = {} if sample_weight is None else {"sample_weight": sample_weight}
            if isinstance(y, str):
                raise ParameterError(
                    f"A {type(self.model).__name__} is scored on arrays, not by the name {y!r}."
                )
            last = self.step_items[-1][1]
            return float(last.score(self[:-1].transform(X) if len(self) > 1 else X, y, **extra))
        scores = self.evaluate(X, y, sample_weight)
        return float(scores["accuracy" if "accuracy" in scores else "r2"])

    @property
    def classes_(self) -> Any:
        """The classes of the last step."""
        return self.model.classes_

    def _transform_all(self, batch: Batch) -> Batch:
        for _, estimator in self.active_steps:
            if isinstance(estimator, Transformer):
                batch = estimator._transform(batch)
        return batch

    def _respond(self, X: Any, method: str) -> Any:
        if not hasattr(self, "fitted_"):
            raise NotFittedError(
                "This Pipeline instance is not fitted yet. Call 'fit' with appropriate arguments first."
            )
        model = self.model
        assert isinstance(model, Model)
        return model._respond(X, method, through=self)

    def get_feature_names_out(self, input_features: Any = None) -> np.ndarray:
        """Names of the columns that reach the model, vectors spelt out."""
        check_is_fitted(self)
        return column_names(self._transform_all(promised_example(self.columns_)))

    # ---- what scikit-learn's tools ask -------------------------------------------------------------------

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """The parameters, and with `deep` the steps by name and their parameters as `<step>__<parameter>`."""
        params = super().get_params(deep=False)
        if deep:
            for name, estimator in self.step_items:
                params[name] = estimator
                if hasattr(estimator, "get_params"):
                    params |= {f"{name}__{key}": value for key, value in estimator.get_params().items()}
        return params

    def set_params(self, **params: Any) -> Self:
        """Set parameters, steps by name, or parameters of steps as `<step>__<parameter>`."""
        own = super().get_params(deep=False)
        for key in [key for key in params if key in own]:
            setattr(self, key, params.pop(key))
        known = dict(self.step_items)
        for key, value in sorted(params.items(), key=lambda item: "__" in item[0]):
            name, _, rest = key.partition("__")
            if name not in known:
                raise ParameterError(f"No step {name!r} among {list(known)}.")
            if rest:
                known[name].set_params(**{rest: value})
            else:
                known[name] = value
                self.steps = [(n, known[n]) for n in known]
        return self

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "fitted_")

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        if self.steps and self.active_steps:
            first = self.active_steps[0][1].__sklearn_tags__()
            tags.input_tags = first.input_tags
            if self.model is not None:
                final = self.model.__sklearn_tags__()
                tags.estimator_type = final.estimator_type
                tags.target_tags = final.target_tags
                tags.classifier_tags, tags.regressor_tags = final.classifier_tags, final.regressor_tags
        return tags


def _plainly(step: Any) -> Any:
    """A step without its adapter."""
    return step.estimator if isinstance(step, Foreign) else step


def _passes(step: Any) -> bool:
    return step is None or (isinstance(step, str) and step == "passthrough")
