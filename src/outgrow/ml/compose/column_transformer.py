"""Each transformer over columns of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from sklearn.compose import ColumnTransformer as SklearnColumnTransformer
from sklearn.utils import Bunch

from outgrow.data.batch import Batch
from outgrow.errors import ParameterError
from outgrow.ml.compose.base import DROP, PASS, SideBySide, check_weights
from outgrow.ml.core.parameters import FLAG, Unused, described
from outgrow.ml.preprocessing.standard_scaler import StandardScaler

REMAINDER = "remainder"
"""What the part is called that gets the columns of no other."""


class ColumnTransformer(SideBySide):
    """Let each transformer work on columns of its own, and put what they make side by side.

    All parts learn in the same passes over the rows. A pipeline changes columns in their place one step after
    the other; this is for several answers from one column, and for tables whose other columns are to go. It
    is a step like others, and so may be a part of another.

    Parameters
    ----------
    transformers : tuples (name, transformer, columns). A transformer is an estimator, a pipeline of them,
        'passthrough' or 'drop'; columns are names, a selector such as `og.numeric()`, places, or what
        `sklearn.compose.make_column_selector` gives.
    remainder : what becomes of the columns that none of them has: 'drop', 'passthrough' or a transformer.
    sparse_threshold, n_jobs, verbose, force_int_remainder_cols : accepted as scikit-learn has them; sparse
        columns stay sparse.
    transformer_weights : by name what a part's numbers are multiplied by.
    verbose_feature_names_out : whether the name of the part stands before its columns, as `name__column`.

    Attributes
    ----------
    transformers_ : list of (name, fitted transformer, columns).
    named_transformers_ : the fitted transformers by name.
    inputs_ : by name of the part its columns.

    Notes
    -----
    Unlike scikit-learn: columns of a part are given to it in the order of the table, dense and sparse ones
    stay what they are, and the columns of a sparse matrix cannot be shared among parts.

    Unlike Spark MLlib's `VectorAssembler(inputCols)`: columns need not be put together for a model.

    Examples
    --------
    >>> import pyarrow as pa, outgrow as og
    >>> rows = pa.table({"size": ["s", "l", "s"], "price": [1.0, 2.0, 6.0], "id": [7, 8, 9]})
    >>> parts = [("words", og.OneHotEncoder(), ["size"]), ("numbers", og.StandardScaler(), ["price"])]
    >>> og.ColumnTransformer(parts).fit_transform(rows).column_names
    ['words__size_l', 'words__size_s', 'numbers__price']
    """

    parameters = {
        "transformers": described("a list of tuples (name, transformer, columns)"),
        "remainder": described("'drop', 'passthrough' or a transformer"),
        "sparse_threshold": Unused(),
        "n_jobs": Unused(),
        "transformer_weights": described("a mapping of names to numbers, or None"),
        "verbose": Unused(),
        "verbose_feature_names_out": FLAG,
        "force_int_remainder_cols": Unused(),
    }
    test_parameters: ClassVar[dict[str, Any]] = {
        "transformers": [("scaled", StandardScaler(), [0]), ("both", StandardScaler(with_std=False), [0, 1])],
        "remainder": PASS,
    }

    def __init__(
        self,
        transformers: Sequence[tuple[str, Any, Any]] = (),
        *,
        remainder: Any = DROP,
        sparse_threshold: float = 0.3,
        n_jobs: int | None = None,
        transformer_weights: Mapping[str, float] | None = None,
        verbose: bool = False,
        verbose_feature_names_out: bool = True,
        force_int_remainder_cols: Any = "deprecated",
    ) -> None:
        self.transformers = transformers
        self.remainder = remainder
        self.sparse_threshold = sparse_threshold
        self.n_jobs = n_jobs
        self.transformer_weights = transformer_weights
        self.verbose = verbose
        self.verbose_feature_names_out = verbose_feature_names_out
        self.force_int_remainder_cols = force_int_remainder_cols

    def _check_parameters(self) -> None:
        if any(not isinstance(part, list | tuple) or len(part) != 3 for part in self.transformers):
            raise ParameterError(
                f"transformers={self.transformers!r}: give tuples (name, transformer, columns)."
            )
        names, parts, _ = zip(*self.transformers, strict=True) if self.transformers else ((), (), ())
        self._check_names(names)
        for name, part in zip(names, parts, strict=True):
            self._check_part(name, part)
        self._check_part(REMAINDER, self.remainder)
        check_weights(self.transformer_weights, [*names, REMAINDER])

    def _branches(self) -> list[tuple[str, Any, Any]]:
        return [(name, part, columns) for name, part, columns in self.transformers]

    def _all_branches(self) -> list[tuple[str, Any, Any]]:
        return [*self._branches(), (REMAINDER, self.remainder, None)]

    def _inputs(self, example: Batch, features: list[str]) -> dict[str, list[str]]:
        inputs = super()._inputs(example, features)
        taken = {column for own in inputs.values() for column in own}
        return {**inputs, REMAINDER: [name for name in features if name not in taken]}

    def _named_parts(self) -> list[tuple[str, Any]]:
        return [(name, part) for name, part, _ in self.transformers]

    def _replace_part(self, name: str, part: Any) -> None:
        self.transformers = [
            (n, part if n == name else old, columns) for n, old, columns in self.transformers
        ]

    @property
    def transformers_(self) -> list[tuple[str, Any, list[str]]]:
        """Names, fitted transformers, and columns."""
        return [(name, part, self.inputs_[name]) for name, part in self._fitted.items()]

    @property
    def named_transformers_(self) -> Bunch:
        """The fitted transformers by name."""
        return Bunch(**self._fitted)

    def __getitem__(self, name: str) -> Any:
        """What has learned, by its name."""
        return self.named_transformers_[name]

    def _drawn(self) -> Any:
        return SklearnColumnTransformer(list(self.transformers), remainder=self.remainder)
