"""Steps one after the other, fitted in one go where the data is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Self

import numpy as np
from sklearn.exceptions import NotFittedError
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted

from outgrow.data.batch import Batch
from outgrow.engine.activity import activity
from outgrow.engine.open import dataset, is_table
from outgrow.engine.shard import Shard
from outgrow.errors import ParameterError
from outgrow.ml import evaluation
from outgrow.ml.adapters import Foreign
from outgrow.ml.base import Model, Transformer
from outgrow.ml.base.passing import fit_passing
from outgrow.ml.core.inputs import open_rows, open_training
from outgrow.ml.core.outputs import as_given, is_lazy
from outgrow.ml.core.parameters import Unused, described
from outgrow.ml.core.task import Task, column_names, kinds_of, names_after, promised_example
from outgrow.ml.expression import expression
from outgrow.ml.in_memory import (
    fit_params,
    in_output,
    in_sklearn,
    is_for_sklearn,
    passes,
    without_adapter,
)
from outgrow.ml.step_list import Step, StepList
from outgrow.ml.steps import (
    learn_side_by_side,
    side_by_side_runs,
    with_rows_told_apart,
    without_numbers,
)


def _last_has(method: str) -> Callable[[Callable[..., Any]], Any]:
    """Available where the last step has the method, as scikit-learn's pipelines have it."""

    def check(pipeline: Pipeline) -> bool:
        if not hasattr(pipeline.model, method):
            last = pipeline[-1] if len(pipeline) else None
            getattr("passthrough" if passes(last) else last, method)  # raises what says why
        return True

    return available_if(check)


def _last_learns(pipeline: Pipeline) -> bool:
    """Whether there is something to fit, or nothing to do, at the end."""
    last = pipeline[-1] if len(pipeline) else None
    return passes(last) or hasattr(last, "fit") or hasattr(last, "fit_transform")


def _steps_invert(pipeline: Pipeline) -> bool:
    for _, step in pipeline._workers():
        _ = _plainly(step).inverse_transform  # raises what says why
    return True


class Pipeline(StepList):
    """Transformers, and a model at the end.

    The whole pipeline is one fit: on Spark, one barrier job. Each step works on the columns it names and
    passes the others on; the model learns from all columns that reach it.

    Steps may be of scikit-learn, or of a library that follows its conventions: such a step works on all
    columns that reach it, and learns from all rows at once, so it needs them in one place (no cluster). Where
    such steps need more than a table and weights (documents, parameters of their own `fit`, scikit-learn's
    metadata routing), or are neither transformers nor models of a known kind, its own Pipeline runs
    all steps, in memory: it predicts as it does there, but can be neither saved nor applied to lazy tables.
    A pipeline may be a step of another.

    Neighbouring steps that name different columns, such as scalers, bins and selections by score, learn in
    the same passes over the rows.

    Parameters
    ----------
    steps : estimators, or (name, estimator) pairs. Names default to the class name in lower case, as in
        `sklearn.pipeline.make_pipeline`, and give access to parameters: `logisticregression__C`.
        'passthrough' in place of an estimator leaves the step out.
    memory, verbose, transform_input : as scikit-learn has them; they change nothing unless its Pipeline runs
        the steps. A search keeps what steps have learned by itself; `og.listen` hears of progress.

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

    parameters = {
        "steps": described("a list of estimators or of (name, estimator) pairs"),
        "transform_input": Unused(),
        "memory": Unused(),
        "verbose": Unused(),
    }

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

    # ---- fitting -----------------------------------------------------------------------------------------

    def fit(self, X: Any, y: Any = None, sample_weight: Any = None, **params: Any) -> Self:
        """Learn all steps from rows.

        Parameters
        ----------
        X : dataset, Spark DataFrame, table, or array of shape (rows, columns).
        y : the name of a column of X, or an array of shape (rows,).
        sample_weight : the name of a column of X, or an array of shape (rows,); all steps that know weights
            take them.
        **params : what else the model at the end learns from, as `exposure=`, also with its name before it,
            `<step>__exposure`; `<step>__sample_weight` gives weights to one step alone, `<step>__<parameter>`
            whatever the fit of a step of another library takes. With scikit-learn's metadata routing they
            are routed.

        Raises
        ------
        ParameterError
            When a parameter is not known, or steps that need all rows in memory are given a lazy table.
        ValueTypeError
            When a step has no `fit`, or one before the last no `transform`.
        """
        return self._fit_as("fit", X, y, sample_weight, params)

    @available_if(_last_learns)  # type: ignore[untyped-decorator]
    def fit_transform(self, X: Any, y: Any = None, sample_weight: Any = None, **params: Any) -> Any:
        """Learn all steps from rows; the rows after all transformers.

        Parameters
        ----------
        X, y, sample_weight, **params : as for `fit`.
        """
        return self._fit_as("fit_transform", X, y, sample_weight, params)

    @_last_has("fit_predict")
    def fit_predict(self, X: Any, y: Any = None, sample_weight: Any = None, **params: Any) -> Any:
        """Learn all steps from rows; the last step's predictions for them.

        Parameters
        ----------
        X, y, sample_weight, **params : as for `fit`.
        """
        return self._fit_as("fit_predict", X, y, sample_weight, params)

    def _fit_as(self, method: str, X: Any, y: Any, sample_weight: Any, params: dict[str, Any]) -> Any:
        self.check_parameters()
        self._sklearn = None
        if is_for_sklearn(self._leaves(), X, params):
            return self._fit_in_memory(method, X, y, fit_params(self.step_items, params, sample_weight))
        roles = self._given_roles(params)
        taken = {name for role in roles for name in (role, f"{self._workers()[-1][0]}__{role}")}
        params = {key: value for key, value in params.items() if key not in taken}
        weighted, sample_weight = self._weighted_step(params, sample_weight)
        opened = open_training(self, X, y, sample_weight, roles=roles)
        opened = replace(opened, weighted_step=weighted)
        if method == "fit_transform" and self.cross_fits:
            return self._in_output(fit_passing(self, opened, X, self._transform_all), X)
        self._fit_on_engine(opened)
        return self if method == "fit" else getattr(self, method.removeprefix("fit_"))(X)

    def _fit_in_memory(self, method: str, X: Any, y: Any, params: dict[str, Any]) -> Any:
        self.__dict__.pop("fitted_", None)
        fitting = in_sklearn(self)
        with activity("fit", self, data=dataset(X) if is_table(X) else None):
            made = getattr(fitting, method)(X, y, **params)
        if self.memory is not None:
            self.steps = fitting.steps  # with those that were learnt or found
        self._sklearn = fitting
        return self if made is fitting else made

    @property
    def _runs_in_sklearn(self) -> Any:
        """scikit-learn's Pipeline of the steps, where that answers; None where this does."""
        if self._sklearn is not None or hasattr(self, "fitted_"):
            return self._sklearn
        return in_sklearn(self) if without_adapter(self._leaves()) else None

    @property
    def cross_fits(self) -> bool:
        """Whether a step changes the rows of the fit otherwise than new ones."""
        return any(getattr(step, "cross_fits", False) for _, step in self._workers())

    def _given_roles(self, params: dict[str, Any], verb: str = "fit") -> dict[str, Any]:
        """What else the model at the end learns from, of the parameters of `fit` or another verb."""
        name, model = self._workers()[-1]
        roles = getattr(model, "roles", {})
        both = [role for role in roles if role in params and f"{name}__{role}" in params]
        if both:
            raise ParameterError(f"{both[0]} and {name}__{both[0]} are the same. Give one of them.")
        given = {role: params[key] for role in roles for key in (role, f"{name}__{role}") if key in params}
        return model._given_roles(given, type(self).__name__, f"{name}__", verb) if roles else {}

    def _weighted_step(self, params: dict[str, Any], sample_weight: Any) -> tuple[str | None, Any]:
        """The one step that gets the weights, or None for all; and the weights."""
        for key, value in params.items():
            name, _, rest = key.rpartition("__")
            steps = [step for step, _ in self._workers()]
            if rest != "sample_weight" or name not in steps or sample_weight is not None:
                known = [f"{step}__sample_weight" for step in steps]
                roles = "".join(f", {role}" for role in getattr(self._workers()[-1][1], "roles", {}))
                raise ParameterError(
                    f"Pipeline.fit does not accept the {key} parameter. "
                    f"It takes sample_weight{roles}, or one of {known}."
                )
            if len(params) > 1:
                raise ParameterError(f"Give one step weights, or all of them: {list(params)} are given.")
            return name, value
        return None, sample_weight

    def _fit_shard(self, shard: Shard, task: Task, *, last: bool = True) -> None:
        self._fit_steps(shard, task, last=last)

    def _fit_passing(self, shard: Shard, task: Task) -> Shard:
        """Learn from the rows of a shard, and give them as they leave the last of the transformers."""
        return self._fit_steps(shard, task, last=False)

    def _fit_steps(self, shard: Shard, task: Task, *, last: bool) -> Shard:
        """Let all steps learn; the rows as they leave the last of the transformers."""
        stage, steps = shard.run.stage, self.active_steps
        shard, task = with_rows_told_apart([step for _, step in steps], shard, task)
        names, (_, final) = iter([name for name, _ in steps]), steps[-1]
        before = [step for _, step in steps if step is not final or isinstance(step, Transformer)]
        for neighbours in side_by_side_runs(before, shard.example):
            kinds = (type(_plainly(step)).__name__ for step in neighbours)
            shard.run.stage = f"{stage}: {', '.join(kinds)}"
            tasks = [task.weighing(next(names)) for _ in neighbours]
            shard = learn_side_by_side(neighbours, shard, tasks)
        if not isinstance(final, Transformer):
            shard.run.stage = f"{stage}: {type(_plainly(final)).__name__}"
            final._expect(kinds_of(shard.example, task))
            final._fit_shard(shard, task.weighing(next(names)), last=last)
        shard.run.stage = stage
        self._keep_adapters(steps)
        return without_numbers(shard, task)

    def _learned(self) -> dict[str, Any]:
        own = super()._learned()
        parts = [estimator._learned() for _, estimator in self.active_steps]
        return {**own, "steps_": parts} if any(parts) else own

    def _learned_to_save(self) -> dict[str, Any]:
        parts = [estimator._learned_to_save() for _, estimator in self.active_steps]
        return {**self._learned(), "steps_": parts} if any(parts) else self._learned()

    def _restore(self, learned: dict[str, Any]) -> None:
        self._adapters, self._sklearn = {}, None
        items = self.active_steps
        for (_, estimator), part in zip(items, learned.get("steps_", [{}] * len(items)), strict=True):
            estimator._restore(part)
        self._keep_adapters(items)
        self.fitted_ = True
        self._share_learned()
        super()._restore({name: value for name, value in learned.items() if name != "steps_"})

    def _keep_adapters(self, items: Sequence[tuple[str, Any]]) -> None:
        self._adapters = {name: step for name, step in items if isinstance(step, Foreign)}

    # ---- answering ---------------------------------------------------------------------------------------

    def transform(self, X: Any, **params: Any) -> Any:
        """The rows of X after all transformers, in the form X has."""
        if self._runs_in_sklearn is not None:
            return self._ask_sklearn("transform", X, params)
        check_is_fitted(self)
        self._check_no_params("transform", params)
        made = as_given(open_rows(self, X).map(self._transform_all), X, self._output)
        return self._in_output(made, X)

    def _in_output(self, made: Any, X: Any) -> Any:
        """What was made of X in the form that `set_output` asks for."""
        return made if is_lazy(X) else in_output(made, self._output, self.get_feature_names_out)

    @available_if(_steps_invert)  # type: ignore[untyped-decorator]
    def inverse_transform(self, X: Any, **params: Any) -> Any:
        """What `transform` gave, taken back by all steps from the last to the first."""
        if self._runs_in_sklearn is not None:
            return self._ask_sklearn("inverse_transform", X, params)
        check_is_fitted(self)
        self._check_no_params("inverse_transform", params)
        for _, step in reversed(self.active_steps):
            X = _plainly(step).inverse_transform(X)
        return X

    @_last_has("predict")
    def predict(self, X: Any, **params: Any) -> Any:
        """Predictions of the last step: an array, or for lazy tables their columns and `prediction`."""
        return self._respond(X, "predict", **params)

    @_last_has("predict_proba")
    def predict_proba(self, X: Any, **params: Any) -> Any:
        """Probabilities of shape (rows, classes); for lazy tables columns `probability_<class>`."""
        return self._respond(X, "predict_proba", **params)

    @_last_has("predict_log_proba")
    def predict_log_proba(self, X: Any, **params: Any) -> Any:
        """Logarithms of the probabilities, of shape (rows, classes)."""
        return self._respond(X, "predict_log_proba", **params)

    @_last_has("decision_function")
    def decision_function(self, X: Any, **params: Any) -> Any:
        """The last step's scores."""
        return self._respond(X, "decision_function", **params)

    @_last_has("score_samples")
    def score_samples(self, X: Any, **params: Any) -> Any:
        """The last step's score of each row."""
        return self._respond(X, "score_samples", **params)

    @_last_has("udf")
    def udf(self, method: str = "predict") -> Any:
        """The pipeline as a function for the expressions of Spark DataFrames; see the last step's `udf`."""
        check_is_fitted(self)
        return expression(self, method)

    @_last_has("evaluate")
    def evaluate(self, X: Any, y: Any = None, sample_weight: Any = None, **params: Any) -> Any:
        """The metrics of the last step over rows, from one pass.

        Parameters
        ----------
        X : rows with the columns of the fit, before all steps.
        y, sample_weight : names of columns of X, or arrays, as for `fit`.
        **params : what else the last step is judged by, such as `event` of censored times: as for `fit`.
        """
        given = self._given_roles(params, "evaluate")
        if len(given) < sum(value is not None for value in params.values()):
            taken = ["sample_weight", *getattr(self.model, "roles", {})]
            raise ParameterError(f"Pipeline.evaluate takes {taken}, and {sorted(params)} are given.")
        return evaluation.evaluate(self, X, y, sample_weight, given)

    @_last_has("score")
    def score(self, X: Any, y: Any = None, sample_weight: Any = None, **params: Any) -> float:
        """Accuracy of a classifier, R2 of a regressor; the last step's own score where it has neither.

        Parameters
        ----------
        X : rows with the columns of the fit, before all steps.
        y : the name of a column of X, or an array. Without it the last step scores X alone.
        sample_weight : the name of a column of X, or an array of shape (rows,).
        **params : for scikit-learn's metadata routing, where its Pipeline runs the steps.
        """
        if self._runs_in_sklearn is not None:
            return float(self._ask_sklearn("score", X, {"y": y, "sample_weight": sample_weight, **params}))
        self._check_no_params("score", params)
        if y is None or not hasattr(self, "evaluate"):
            extra = {} if sample_weight is None else {"sample_weight": sample_weight}
            if isinstance(y, str):
                raise ParameterError(
                    f"A {type(self.model).__name__} is scored on arrays, not by the name {y!r}."
                )
            last = self.step_items[-1][1]
            return float(last.score(self[:-1].transform(X) if len(self) > 1 else X, y, **extra))
        scores = self.evaluate(X, y, sample_weight)
        usual = "accuracy" if "accuracy" in scores else "r2"
        return float(scores[getattr(self.model, "score_metric", usual)])

    @property
    def classes_(self) -> Any:
        """The classes of the last step."""
        return self.model.classes_

    def _transform_all(self, batch: Batch) -> Batch:
        for _, estimator in self.active_steps:
            if isinstance(estimator, Transformer):
                batch = estimator._transform(batch)
        return batch

    def _respond(self, X: Any, method: str, **params: Any) -> Any:
        if self._runs_in_sklearn is not None:
            return self._ask_sklearn(method, X, params)
        if not hasattr(self, "fitted_"):
            raise NotFittedError(
                "This Pipeline instance is not fitted yet. Call 'fit' with appropriate arguments first."
            )
        self._check_no_params(method, params)
        model = self.model
        assert isinstance(model, Model)
        return model._respond(X, method, through=self)

    def _ask_sklearn(self, method: str, X: Any, params: dict[str, Any]) -> Any:
        if is_lazy(X):
            _ = self.active_steps  # which says why this is not for lazy tables
        return getattr(self._runs_in_sklearn, method)(X, **params)

    def _check_no_params(self, method: str, params: dict[str, Any]) -> None:
        if params:
            raise ParameterError(
                f"No step of this Pipeline takes {list(params)} in {method}. Leave them out."
            )

    def get_feature_names_out(self, input_features: Any = None) -> np.ndarray:
        """Names of the columns that `transform` gives, vectors spelt out.

        Parameters
        ----------
        input_features : the names of the columns of an array, in place of `x0`, `x1` and so on.
        """
        if self._runs_in_sklearn is not None:
            return np.asarray(self._runs_in_sklearn.get_feature_names_out(input_features))
        check_is_fitted(self)
        names = column_names(self._transform_all(promised_example(self.columns_)))
        return names if input_features is None else names_after(self, names, input_features)

    # ---- what scikit-learn's tools ask -------------------------------------------------------------------

    def get_metadata_routing(self) -> Any:
        """What is asked of scikit-learn's metadata routing, by step."""
        return in_sklearn(self).get_metadata_routing()

    def _repr_mimebundle_(self, **kwargs: Any) -> dict[str, str]:
        """What notebooks show: the steps below one another."""
        bundle: dict[str, str] = in_sklearn(self)._repr_mimebundle_(**kwargs)
        return bundle

    def __sklearn_is_fitted__(self) -> bool:
        if hasattr(self, "fitted_") or self._runs_in_sklearn is None:
            return hasattr(self, "fitted_")
        return _is_fitted(self._runs_in_sklearn)


def _plainly(step: Any) -> Any:
    """A step without its adapter."""
    return step.estimator if isinstance(step, Foreign) else step


def _is_fitted(pipeline: Any) -> bool:
    try:
        check_is_fitted(pipeline)
    except NotFittedError:
        return False
    return True
