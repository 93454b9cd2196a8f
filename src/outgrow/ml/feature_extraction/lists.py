"""What steps share that make lists of words of lists of words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from outgrow.data.batch import Batch
from outgrow.data.schema import conformed
from outgrow.engine.shard import Shard
from outgrow.ml.base import Transformer
from outgrow.ml.core.task import Task
from outgrow.ml.feature_extraction.analyzer import WORDS, text_columns
from outgrow.ml.feature_extraction.terms import Terms


class ListTransformer(Transformer):
    """Changes lists of words; missing ones stay missing, missing words in them are left out.

    Hook: `_changed(terms)`.
    """

    no_exports: ClassVar[dict[str, str]] = {
        "ONNX": "lists of any length are no tensors",
        "scikit-learn": "it has no columns of lists",
    }
    expected_failed_checks: ClassVar[dict[str, str]] = {
        "check_transformer_data_not_an_array": "a list of lists is a column of words, no rows of columns"
    }
    learns_nothing = True
    takes_lists = True

    @classmethod
    def _test_columns(cls, random: np.random.Generator, rows: int) -> Mapping[str, Any]:
        words, ends = (
            random.choice(["The", "sky", "is", "red"], (rows, 2)).tolist(),
            random.integers(0, 3, rows),
        )
        lists = [each[:end] for each, end in zip(words, ends, strict=True)]
        return {"a": lists, "b": lists[::-1], "c": random.integers(0, 3, rows)}

    def _changed(self, terms: Terms) -> Terms:
        raise NotImplementedError

    def _fit(self, shard: Shard, names: list[str], task: Task) -> None:
        self.selected_ = text_columns(self, shard.example, names, [WORDS], "lists of words")

    def _transform_columns(self, batch: Batch, names: list[str]) -> Batch:
        lists = conformed(batch.select(names), dict.fromkeys(names, WORDS))
        return batch.with_columns({name: self._of(lists[name]) for name in names})

    def _of(self, lists: Any) -> Any:
        missing = np.asarray(lists.is_null())
        return self._changed(Terms.of_lists(lists)).lists(missing)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.categorical = tags.input_tags.string = tags.input_tags.allow_nan = True
        return tags
