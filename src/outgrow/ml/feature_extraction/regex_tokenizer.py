"""Text cut into words by a regular expression."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, ClassVar

import pyarrow as pa

from outgrow.data.batch import Batch
from outgrow.data.kind import CATEGORY
from outgrow.engine.shard import Shard
from outgrow.ml.base import Transformer
from outgrow.ml.core.columns import Columns
from outgrow.ml.core.parameters import COLUMNS, FLAG, TEXT, Integer
from outgrow.ml.core.task import Task
from outgrow.ml.feature_extraction.analyzer import check_pattern, text_columns


class RegexTokenizer(Transformer):
    r"""Cut text into lists of words by a regular expression.

    Each column of text becomes one of lists of text; missing text becomes a missing list. It learns nothing.
    Patterns are Python's, in which `\w` and `\s` know letters and spaces of all scripts.

    Parameters
    ----------
    pattern : what lies between words, or with `gaps=False` what words are.
    columns : which columns, by name or selector; all of text by default.
    gaps : whether the pattern is that of the gaps.
    lowercase : make the text lowercase before it is cut.
    min_token_length : shorter words are left out; length is counted in characters.

    Notes
    -----
    Unlike scikit-learn: a transformer of its own; there vectorizers cut text.

    Unlike Spark MLlib's `RegexTokenizer(minTokenLength=1, gaps=True, toLowercase=True)`: the column keeps its
    name, and patterns are Python's, not Java's, in which `\w` and `\s` are those of ASCII. Text at which a
    pattern has to go back and try anew, as `(a+)+$` does, can take as long as with Java's: such patterns are
    not for text of strangers.

    Examples
    --------
    >>> import pyarrow as pa, outgrow as og
    >>> rows = pa.table({"title": ["A naïve  Approach", "", None]})
    >>> og.RegexTokenizer().fit_transform(rows)["title"].to_pylist()
    [['a', 'naïve', 'approach'], [], None]
    >>> og.RegexTokenizer(r"\w+", gaps=False, min_token_length=2).fit_transform(rows)["title"].to_pylist()
    [['naïve', 'approach'], [], None]
    """

    parameters = {
        "pattern": TEXT,
        "columns": COLUMNS,
        "gaps": FLAG,
        "lowercase": FLAG,
        "min_token_length": Integer(low=0),
    }
    no_exports: ClassVar[dict[str, str]] = {
        "ONNX": "lists of any length are no tensors",
        "scikit-learn": "it has no columns of lists",
    }
    learns_nothing = True

    def __init__(
        self,
        pattern: str = r"\s+",
        *,
        columns: Columns = None,
        gaps: bool = True,
        lowercase: bool = True,
        min_token_length: int = 1,
    ) -> None:
        self.pattern = pattern
        self.columns = columns
        self.gaps = gaps
        self.lowercase = lowercase
        self.min_token_length = min_token_length

    def _check_parameters(self) -> None:
        check_pattern("RegexTokenizer", "pattern", self.pattern)

    def _fit(self, shard: Shard, names: list[str], task: Task) -> None:
        self.selected_ = text_columns(self, shard.example, names, [CATEGORY], "text")

    def _transform_columns(self, batch: Batch, names: list[str]) -> Batch:
        pattern = re.compile(self.pattern)
        return batch.with_columns({name: self._cut(batch[name], pattern) for name in names})

    def _cut(self, column: Any, pattern: re.Pattern[str]) -> pa.Array:
        rows = [None if text is None else self._words(text, pattern) for text in column.to_pylist()]
        return pa.array(rows, pa.list_(pa.string()))

    def _words(self, text: str, pattern: re.Pattern[str]) -> list[str]:
        text = text.lower() if self.lowercase else text
        words = _between(text, pattern) if self.gaps else (match[0] for match in pattern.finditer(text))
        return [word for word in words if len(word) >= self.min_token_length]

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.categorical = tags.input_tags.string = tags.input_tags.allow_nan = True
        return tags


def _between(text: str, pattern: re.Pattern[str]) -> Iterator[str]:
    """What lies between the matches of a pattern; groups in it, which `re.split` would give too, do not."""
    start = 0
    for match in pattern.finditer(text):
        yield text[start : match.start()]
        start = match.end()
    yield text[start:]
