"""Predictions of a saved model in a process that starts quickly and stays small: a function in a cloud.

The answers are those of `outgrow serve`, to the bit, from the same code. What is left out is what a
prediction does not need: scikit-learn, pandas, most of SciPy and of what fits. A model whose kernels do need
one of them imports it when it first answers.
"""

from __future__ import annotations

import base64
import json
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from outgrow._deferred import defer
from outgrow.errors import ParameterError

if TYPE_CHECKING:
    from outgrow.data.batch import Batch
    from outgrow.serve.http.rows import Row
    from outgrow.serve.http.scoring import LoadedVersion

_DEFERRED = (
    "outgrow.engine",
    "outgrow.log",
    "outgrow.ml.evaluation",
    "outgrow.ml.export",
    "outgrow.ml.solvers",
    "outgrow.page",
    "outgrow.stats",
)
"""What fits, evaluates, exports and keeps records; little of it is needed to predict."""
_LEARNS = "outgrow.ml.core.estimator"
_JSON = {"content-type": "application/json"}


def load(path: str | os.PathLike[str]) -> LeanModel:
    """A saved model that only predicts.

    A process that has imported no estimator before only predicts from now on: none can fit there, and pyarrow
    makes no frames of pandas unless pandas was imported before. In one that has, the model answers as well,
    but costs what `outgrow.load` does.

    Parameters
    ----------
    path : of a saved model, or of a folder of versions, whose current one is taken.

    Raises
    ------
    ArtifactError
        When there is no model, or it is damaged.
    MissingExtraError
        Without the extra `serve`, which checks rows.

    Examples
    --------
    >>> import subprocess, sys, tempfile, numpy as np, outgrow as og
    >>> folder = tempfile.mkdtemp() + "/line"
    >>> og.LinearRegression().fit(np.array([[0.0], [1.0], [2.0]]), [1.0, 3.0, 5.0]).save(folder)
    >>> code = f"from outgrow.serve import lean; print(lean.load({folder!r}).predict([{{'x0': 3.0}}]))"
    >>> answered = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout
    >>> round(float(answered.strip("[]\\n")), 6)
    7.0
    """
    if _LEARNS not in sys.modules:
        defer(_DEFERRED)
    from outgrow.registry.store import Follower
    from outgrow.serve.http.scoring import LoadedVersion

    version = Follower(path).look()
    assert version is not None
    return LeanModel(LoadedVersion.of(version))


class LeanModel:
    """A model that answers rows, and bodies of requests; `load` makes it."""

    def __init__(self, served: LoadedVersion) -> None:
        self._served = served

    @property
    def version(self) -> str:
        """The number in a store; of a model alone, the beginning of its digest."""
        return self._served.version.name

    def predict(self, rows: Sequence[Mapping[str, Any]]) -> list[Any]:
        """A prediction for each row.

        Parameters
        ----------
        rows : objects of column names and values.

        Raises
        ------
        ParameterError
            When they do not have the model's columns; the message names them.
        """
        predictions: list[Any] = self._answers(rows).predictions
        return predictions

    def predict_proba(self, rows: Sequence[Mapping[str, Any]]) -> list[list[float]]:
        """The probability of each class, in the order of `classes`, for each row.

        Parameters
        ----------
        rows : objects of column names and values.

        Raises
        ------
        ParameterError
            When they do not have the model's columns, or the model has no probabilities.
        """
        chances: list[list[float]] | None = self._answers(rows).probabilities
        if chances is None:
            raise ParameterError(f"A {self._model} has no probabilities. Ask it to predict.")
        return chances

    @property
    def classes(self) -> list[Any] | None:
        """The classes of a classifier; None of other models."""
        return self._served.version.predictor.classes

    def warm_up(self) -> None:
        """Answer a row that was made up, so that what the first answer needs is loaded."""
        from outgrow.serve.http.deployment import warm_up

        warm_up(self._served)

    def respond(self, body: bytes) -> tuple[int, bytes]:
        """The status and the body with which `outgrow serve` answers a body at `/predict`.

        Parameters
        ----------
        body : such as `{"rows": [{"x": 1.0}], "probabilities": true}`.
        """
        from outgrow.serve.http import plain
        from outgrow.serve.http.refusal import refusal

        try:
            query = plain.read(self._served.reader, body)
            return 200, plain.answer(self._answered(query.rows), query.probabilities)
        except Exception as error:
            status, answer, _ = refusal(error)
            return status, answer

    def __repr__(self) -> str:
        return f"LeanModel({self._model}, version {self.version})"

    @property
    def _model(self) -> str:
        return type(self._served.version.predictor.model).__name__

    def _answers(self, rows: Sequence[Mapping[str, Any]]) -> Any:
        from outgrow.serve.http.rows import RowsError

        try:
            return self._answered(self._served.reader.checked(list(rows)))
        except RowsError as error:
            raise ParameterError(str(error)) from None

    def _answered(self, rows: Any) -> Any:
        from outgrow.serve.http.scoring import answer_all

        (answers,), _ = answer_all([_Request(self._served, rows, len(rows))])
        if isinstance(answers, Exception):
            raise answers
        return answers


@dataclass(eq=False)
class _Request:
    """Rows for which somebody waits."""

    served: LoadedVersion
    rows: Sequence[Row] | Batch
    count: int
    abandoned: bool = False


class LambdaHandler:
    """What AWS Lambda calls: an event in, an answer out.

    An event is what a function URL or an API Gateway sends, answered with a status and a body as JSON, or the
    body of a request itself, answered with what its answer holds.

    Parameters
    ----------
    path : of a saved model, or of a folder of versions.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.model = load(path)
        self.model.warm_up()

    def __call__(self, event: Any, context: Any = None) -> Any:
        if not isinstance(event, Mapping) or "body" not in event:
            status, answer = self.model.respond(json.dumps(event).encode())
            return json.loads(answer) if status == 200 else {"status": status, **json.loads(answer)}
        text = event["body"] or ""
        body = base64.b64decode(text) if event.get("isBase64Encoded") else text.encode()
        status, answer = self.model.respond(body)
        return {"statusCode": status, "headers": _JSON, "body": answer.decode()}
