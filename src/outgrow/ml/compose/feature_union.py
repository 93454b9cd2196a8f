"""Several transformers over the same columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from sklearn.pipeline import FeatureUnion as SklearnFeatureUnion
from sklearn.utils import Bunch

from outgrow.errors import ParameterError
from outgrow.ml.compose.base import SideBySide, check_weights
from outgrow.ml.core.parameters import FLAG, Unused, described
from outgrow.ml.preprocessing.standard_scaler import StandardScaler


class FeatureUnion(SideBySide):
    """Let transformers work on the same columns, and put what they make side by side.

    All parts learn in the same passes over the rows. A part that names its `columns` gives what it makes of
    those; other columns are gone.

    Parameters
    ----------
    transformer_list : tuples (name, transformer); a transformer is an estimator, a pipeline of them,
        'passthrough' or 'drop'.
    n_jobs, verbose : accepted as scikit-learn has them.
    transformer_weights : by name what a part's numbers are multiplied by.
    verbose_feature_names_out : whether the name of the part stands before its columns, as `name__column`.

    Attributes
    ----------
    named_transformers : the transformers by name, as they were given.
    inputs_ : by name of the part its columns.

    Notes
    -----
    Unlike scikit-learn: the fitted transformers are in `fitted_transformers_`, and those that were given stay
    as they are.

    Unlike Spark MLlib's `VectorAssembler(inputCols)`: columns need not be put together for a model.

    Examples
    --------
    >>> import numpy as np, outgrow as og
    >>> X = np.array([[0.0, 1.0], [1.0, 0.0], [2.0, 2.0]])
    >>> both = og.FeatureUnion([("pca", og.PCA(n_components=1)), ("scaled", og.StandardScaler())])
    >>> both.fit(X).get_feature_names_out().tolist()
    ['pca__pca0', 'scaled__x0', 'scaled__x1']
    """

    parameters = {
        "transformer_list": described("a list of tuples (name, transformer)"),
        "n_jobs": Unused(),
        "transformer_weights": described("a mapping of names to numbers, or None"),
        "verbose": Unused(),
        "verbose_feature_names_out": FLAG,
    }
    test_parameters: ClassVar[dict[str, Any]] = {
        "transformer_list": [("scaled", StandardScaler()), ("centred", StandardScaler(with_std=False))]
    }

    def __init__(
        self,
        transformer_list: Sequence[tuple[str, Any]] = (),
        *,
        n_jobs: int | None = None,
        transformer_weights: Mapping[str, float] | None = None,
        verbose: bool = False,
        verbose_feature_names_out: bool = True,
    ) -> None:
        self.transformer_list = transformer_list
        self.n_jobs = n_jobs
        self.transformer_weights = transformer_weights
        self.verbose = verbose
        self.verbose_feature_names_out = verbose_feature_names_out

    def _check_parameters(self) -> None:
        if any(not isinstance(part, list | tuple) or len(part) != 2 for part in self.transformer_list):
            raise ParameterError(
                f"transformer_list={self.transformer_list!r}: give tuples (name, transformer)."
            )
        names, parts = zip(*self.transformer_list, strict=True) if self.transformer_list else ((), ())
        self._check_names(names)
        for name, part in zip(names, parts, strict=True):
            self._check_part(name, part)
        check_weights(self.transformer_weights, names)

    def _branches(self) -> list[tuple[str, Any, Any]]:
        return [(name, part, None) for name, part in self.transformer_list]

    def _narrow(self) -> None:
        for name, part in self._transformers.items():
            self.inputs_[name] = list(getattr(part, "selected_", self.inputs_[name]))

    def _named_parts(self) -> list[tuple[str, Any]]:
        return [(name, part) for name, part in self.transformer_list]

    def _replace_part(self, name: str, part: Any) -> None:
        self.transformer_list = [(n, part if n == name else old) for n, old in self.transformer_list]

    @property
    def named_transformers(self) -> Bunch:
        """The transformers by name, as they were given."""
        return Bunch(**dict(self._named_parts()))

    @property
    def fitted_transformers_(self) -> Bunch:
        """The fitted transformers by name."""
        return Bunch(**self._fitted)

    def __getitem__(self, name: str) -> Any:
        """A transformer by its name."""
        return self.named_transformers[name]

    def _drawn(self) -> Any:
        return SklearnFeatureUnion(list(self.transformer_list))
