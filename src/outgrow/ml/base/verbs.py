"""What users call on every estimator: saving and exporting; and the one fit on the engine of the data."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache
from typing import Any, Self

from sklearn.base import clone
from sklearn.utils.validation import check_is_fitted

from outgrow.engine.activity import activity
from outgrow.engine.reference import Reference
from outgrow.engine.seen import Seen
from outgrow.engine.shard import Shard
from outgrow.errors import ParameterError
from outgrow.ml import persistence
from outgrow.ml.core.estimator import Estimator, is_plain
from outgrow.ml.core.inputs import Training
from outgrow.ml.core.task import Task
from outgrow.ml.export.onnx import file as onnx
from outgrow.ml.export.sklearn.pipeline import equal
from outgrow.ml.predictor import Predictor, ScoreColumns

_CLASSES_SHOWN = 20
"""Of so many classes the probability of each is counted beside a reference."""
_BESIDE = {"_metadata_request", "_sklearn_output_config", "_output"}
"""What a clone takes along beside the parameters."""


class Verbs(Estimator):
    """An estimator that can be fitted where the data is, saved and exported."""

    _reference: bytes | None = None

    def _fit_on_engine(self, data: Training) -> Self:
        return self._learn_on_engine(data, _fit_all)

    def _learn_on_engine(self, data: Training, learn: Callable[[Any, Shard, Task], None]) -> Self:
        """Learn from rows, wherever they are.

        Parameters
        ----------
        data : the rows.
        learn : makes a worker learn from a shard.
        """
        task = data.task(self.columns_)
        worker = self._worker()
        engine, scan = data.dataset.engine, data.dataset.scan

        def fit(shard: Shard) -> dict[str, Any]:
            learn(worker, shard, task)
            return worker._learned()

        wanted = [*task.columns, *data.beside]
        if set(wanted) != set(scan.schema.names):
            scan = scan.select(wanted)
        stage = f"fit {type(self).__name__}"
        with activity("fit", self, data=data.dataset, target=data.target, weight=data.weight):
            seen = Seen(scan)
            fitted = engine.fit(fit, scan, stage=stage, identity=lambda: self._identity(task))
            self._restore(data.in_type(fitted.result, self._follows_type))
            self._trusted = True
            self.fit_record_ = replace(fitted.record, data=seen.close())
        return self

    def _worker(self) -> Self:
        """What learns in place of this, wherever the rows are."""
        parameters = self.get_params(deep=False)
        if is_plain(parameters) and not _BESIDE & vars(self).keys():  # a clone takes longer than small fits
            made = type(self)(**parameters)
            if all(getattr(made, name) is value for name, value in parameters.items()):
                return made
        return clone(self)

    def _identity(self, task: Task) -> dict[str, Any]:
        """What tells this fit from others over the same rows."""
        return {
            "estimator": persistence.describe(self._worker()),
            "task": [task.target, task.weight, task.weighted_step, *task.roles.items(), *task.columns],
        }

    @property
    def reference_(self) -> Reference | None:
        """How the rows were distributed that it learned from; None where none was kept with it."""
        return None if self._reference is None else _reference_of(self._reference)

    def save(
        self,
        path: str | os.PathLike[str],
        *,
        input_example: Any = None,
        reference: Any = None,
        overwrite: bool = False,
        key: str | os.PathLike[str] | None = None,
    ) -> None:
        """Write the fitted estimator as a directory of JSON and arrays, whole or not at all.

        Parameters
        ----------
        path : the directory to make.
        input_example : a table or dataset with the columns of the fit, whose first row is kept beside the
            model: the pages of `outgrow serve` show it. Nothing of the rows is kept unless it is given.
        reference : the rows that it learned from, or an `og.Reference` of them: how they and the predictions
            for them are distributed is kept beside the model, for `og.drift`. It counts them in two passes.
            By default the reference that the model has already, if any.
        overwrite : whether a model that is there already may be replaced.
        key : the file with a private key that signs the model (`outgrow keygen`): `og.load` and servers that
            have the public key refuse what is not signed.

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
        check_is_fitted(self)
        if reference is not None:
            made = reference if isinstance(reference, Reference) else Reference.of(reference, self)
            self._reference = made.to_bytes()
        persistence.save(
            self,
            path,
            input_example=input_example,
            reference=self._reference,
            overwrite=overwrite,
            key=key,
        )

    def _score_columns(self) -> ScoreColumns:
        """What this answers for batches, as columns: predictions, and the probabilities of classes."""
        check_is_fitted(self)
        predictor = Predictor(self)
        if not predictor.gives("predict"):
            raise ParameterError(f"A {type(predictor.model).__name__} predicts nothing. Give a fitted model.")
        classes = predictor.classes or ()
        return ScoreColumns(predictor, predictor.gives("predict_proba") and len(classes) <= _CLASSES_SHOWN)

    def to_onnx(self, path: str | os.PathLike[str], *, overwrite: bool = False) -> None:
        """Write the fitted estimator as one ONNX file that answers as it does, whole or not at all.

        Each column is an input of shape (rows, 1): numbers as float64 with NaN for missing ones, text as
        strings with empty text for missing ones. Outputs are `prediction`, for classifiers `probabilities`
        or `decision_function`, and for transformers `transformed`. It needs the extra `onnx`.

        Parameters
        ----------
        path : the file to write.
        overwrite : whether a file that is there already may be replaced.

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
        check_is_fitted(self)
        onnx.write(self, path, overwrite=overwrite)

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
        check_is_fitted(self)
        return equal(self)


@lru_cache(4)
def _reference_of(data: bytes) -> Reference:
    return Reference.from_bytes(data)


def _fit_all(worker: Any, shard: Shard, task: Task) -> None:
    worker._fit_shard(shard, task)
