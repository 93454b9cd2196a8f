"""Steps one after the other, fitted in one go where the data is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Self

import numpy as np
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted

from outgrow.data.batch import Batch
from outgrow.engine.shard import Shard
from outgrow.errors import ColumnNotFoundError, ParameterError
from outgrow.ml.base import Estimator, Model, Task, Transformer, column_names, kinds_of, promised_example
from outgrow.ml.inputs import as_given, open_rows, open_training

Step = Estimator | tuple[str, Estimator]


def _last_has(method: str) -> Callable[[Callable[..., Any]], Any]:
    return available_if(lambda self: hasattr(self.named_steps[-1][1], method))


class Pipeline(Estimator):
    """Transformers, and a model at the end.

    The whole pipeline is one fit: on Spark, one barrier job. Each step works on the columns it names and
    passes the others on; the model learns from all columns that reach it.

    Parameters
    ----------
    steps : estimators, or (name, estimator) pairs. Names default to the class name in lower case, as in
        `sklearn.pipeline.make_pipeline`, and give access to parameters: `logisticregression__C`.

    Examples
    --------
    >>> import numpy as np, outgrow as og
    >>> X, y = np.array([[1.0], [np.nan], [3.0], [4.0]]), np.array([0, 0, 1, 1])
    >>> pipe = og.Pipeline([og.SimpleImputer(), og.LogisticRegression(C=10.0)])
    >>> pipe.fit(X, y).predict(X).tolist()
    [0, 0, 1, 1]
    """

    def __init__(self, steps: Sequence[Step]) -> None:
        self.steps = steps

    @property
    def named_steps(self) -> list[tuple[str, Estimator]]:
        """The steps with their names."""
        named: list[tuple[str, Estimator]] = []
        for step in self.steps:
            name, estimator = step if isinstance(step, tuple) else (type(step).__name__.lower(), step)
            taken = {other for other, _ in named}
            number = next(
                i for i in range(1, len(named) + 2) if (name if i == 1 else f"{name}{i}") not in taken
            )
            named.append((name if number == 1 else f"{name}{number}", estimator))
        return named

    def __getitem__(self, key: int | str) -> Estimator:
        if isinstance(key, str):
            known = dict(self.named_steps)
            if key not in known:
                raise ColumnNotFoundError(f"No step {key!r} among {list(known)}.")
            return known[key]
        return self.named_steps[key][1]

    def fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> Self:
        """Learn all steps from rows; parameters as those of the last step's `fit`."""
        self._check_parameters()
        return self._fit_on_engine(open_training(self, X, y, sample_weight))

    def transform(self, X: Any) -> Any:
        """The rows of X after all transformers, in the form X has."""
        check_is_fitted(self)
        return as_given(open_rows(self, X).map(self._transform_all), X)

    @_last_has("predict")
    def predict(self, X: Any) -> Any:
        """Predictions of the last step: an array, or for lazy tables their columns and `prediction`."""
        return self._respond(X, "predict")

    @_last_has("predict_proba")
    def predict_proba(self, X: Any) -> Any:
        """Probabilities of shape (rows, classes); for lazy tables columns `probability_<class>`."""
        return self._respond(X, "predict_proba")

    @_last_has("decision_function")
    def decision_function(self, X: Any) -> Any:
        """The last step's scores."""
        return self._respond(X, "decision_function")

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
    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """Accuracy of a classifier, R2 of a regressor."""
        scores = self.evaluate(X, y, sample_weight)
        return float(scores["accuracy" if "accuracy" in scores else "r2"])

    @property
    def model(self) -> Estimator:
        """The last step."""
        return self.named_steps[-1][1]

    @property
    def classes_(self) -> Any:
        return self.model.classes_

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        params: dict[str, Any] = {"steps": self.steps}
        if deep:
            for name, estimator in self.named_steps:
                params[name] = estimator
                params |= {f"{name}__{key}": value for key, value in estimator.get_params().items()}
        return params

    def set_params(self, **params: Any) -> Self:
        if "steps" in params:
            self.steps = params.pop("steps")
        known = dict(self.named_steps)
        for key, value in params.items():
            name, _, rest = key.partition("__")
            if name not in known:
                raise ParameterError(f"No step {name!r} among {list(known)}.")
            if rest:
                known[name].set_params(**{rest: value})
            else:
                known[name] = value
                self.steps = [(n, known[n]) for n in known]
        return self

    def _check_parameters(self) -> None:
        if not self.steps:
            raise ParameterError("A Pipeline needs at least one step.")
        for place, (name, estimator) in enumerate(self.named_steps):
            if place < len(self.steps) - 1 and not isinstance(estimator, Transformer):
                raise ParameterError(
                    f"Step {name!r} is a {type(estimator).__name__}, which transforms nothing; "
                    "only the last may be."
                )
            estimator._check_parameters()

    def _fit_shard(self, shard: Shard, task: Task, *, last: bool = True) -> None:
        stage = shard.run.stage
        for place, (_, estimator) in enumerate(self.named_steps):
            shard.run.stage = f"{stage}: {type(estimator).__name__}"
            final = place == len(self.steps) - 1
            estimator._expect(kinds_of(shard.example, task))
            estimator._fit_shard(shard, task, last=last and final)
            if isinstance(estimator, Transformer) and not final:
                shard = shard.transformed(estimator._transform, encoded=estimator.takes_dictionaries)
        shard.run.stage = stage

    def _learned(self) -> dict[str, Any]:
        own = super()._learned()
        parts = [estimator._learned() for _, estimator in self.named_steps]
        return {**own, "steps_": parts} if any(parts) else own

    def _restore(self, learned: dict[str, Any]) -> None:
        for (_, estimator), part in zip(self.named_steps, learned["steps_"], strict=True):
            estimator._restore(part)
        self.fitted_ = True
        super()._restore({name: value for name, value in learned.items() if name != "steps_"})

    def _transform_all(self, batch: Batch) -> Batch:
        for _, estimator in self.named_steps:
            if isinstance(estimator, Transformer):
                batch = estimator._transform(batch)
        return batch

    def _respond(self, X: Any, method: str) -> Any:
        model = self.model
        assert isinstance(model, Model)
        return model._respond(X, method, through=self)

    def get_feature_names_out(self, input_features: Any = None) -> np.ndarray:
        """Names of the columns that reach the model, vectors spelt out."""
        check_is_fitted(self)
        return column_names(self._transform_all(promised_example(self.columns_)))

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "fitted_")

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        if self.steps:
            first, final = self.named_steps[0][1].__sklearn_tags__(), self.model.__sklearn_tags__()
            tags.estimator_type = final.estimator_type
            tags.target_tags = final.target_tags
            tags.classifier_tags, tags.regressor_tags = final.classifier_tags, final.regressor_tags
            tags.input_tags = first.input_tags
        return tags
