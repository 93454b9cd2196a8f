"""Which model answers for a row: that of its key, or what was declared for keys without one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from outgrow.data.batch import Batch
from outgrow.data.exact import readable
from outgrow.data.keys import key_hash
from outgrow.errors import DataError
from outgrow.groups.group_estimator import GroupEstimator
from outgrow.groups.store import TRANSFORM, Models, find, widened
from outgrow.ml.core.estimator import Estimator
from outgrow.ml.predictor import Predictor
from outgrow.ml.steps import steps_of

GLOBAL, ERROR, NULL = "global", "error", "null"
UNSEEN = (ERROR, NULL, GLOBAL)
"""What becomes of rows whose key has no model."""


@dataclass(frozen=True, eq=False)
class Router:
    """Sends rows to the models of their keys.

    Attributes
    ----------
    keys, features : columns.
    unseen : one of `UNSEEN`.
    whole : the model of all rows, for unseen='global'.
    group_estimator : how a model of scikit-learn predicts.
    """

    models: Models
    keys: tuple[str, ...]
    features: tuple[str, ...]
    unseen: str
    whole: Any
    group_estimator: GroupEstimator
    classes: np.ndarray | None

    def answer(self, method: str, batch: Batch) -> np.ndarray:
        """What the models predict for each row, or make of its features, in the order of the rows.

        Parameters
        ----------
        method : 'transform', or a method of the models, like 'predict' or 'predict_proba'.
        batch : rows with the keys and the features; other columns are not looked at.

        Returns
        -------
        Array of shape (rows,), or (rows, classes) of all groups' classes, or (rows, features). With
        unseen='null', rows without a model have NaN, or None among objects.

        Raises
        ------
        DataError
            When a key has no model, and unseen='error'.
        """
        model_index = find(self.models.hashes, key_hash(batch, self.keys))
        known, features = model_index >= 0, batch.select(self.features)
        if known.all():
            return self._shaped(self.models.answer(method, features, model_index))
        if self.unseen == ERROR:
            raise DataError(self._message(batch.filter(~known)))
        answers = self._shaped(self.models.answer(method, features.filter(known), model_index[known]))
        others = features.filter(~known)
        if self.unseen == NULL:
            extra: Any = np.full(
                (others.num_rows, *answers.shape[1:]), None if answers.dtype == object else np.nan
            )
        else:
            extra = self._shaped(self._answer_whole(method, others))
        kind = object if object in (answers.dtype, extra.dtype) else np.result_type(answers, extra)
        out = np.empty((batch.num_rows, *answers.shape[1:]), dtype=kind)
        out[known], out[~known] = answers, extra
        return out

    def _answer_whole(self, method: str, batch: Batch) -> np.ndarray:
        if method == TRANSFORM:
            for step in steps_of(self.whole):
                batch = step._transform(batch)
            return np.asarray(batch.matrix(self.features))
        if isinstance(self.whole, Estimator):
            predictions = Predictor(self.whole).answer(batch, method)
        else:
            predictions = self.group_estimator.answer(self.whole, batch, method)
        return widened(predictions, method, getattr(self.whole, "model", self.whole), self.classes)

    def _shaped(self, answers: np.ndarray) -> np.ndarray:
        """Predicted classes in a type that has room for none, where rows may get none."""
        if self.unseen != NULL or answers.ndim == 2:
            return answers
        return answers.astype(object if answers.dtype.kind in "OU" else np.float64)

    def _message(self, batch: Batch) -> str:
        rows = readable(batch.select(self.keys).to_arrow())
        known = list(dict.fromkeys(tuple(row.values()) for row in rows))
        shown = ", ".join(" / ".join(map(str, key)) for key in known[:5])
        more = f" and {len(known) - 5} more" if len(known) > 5 else ""
        return (
            f"{len(rows)} row(s) have a key without a model: {shown}{more} (of {list(self.keys)}). "
            "Fit with unseen='global' or unseen='null' to answer for such rows, or see groups_ for why a "
            "group has none."
        )
