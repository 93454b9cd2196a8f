"""What the two decision trees have in common: one tree to be walked through, read and exported."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import scipy.sparse as sp
from sklearn.utils.validation import check_is_fitted

from outgrow.data.matrix import is_sparse
from outgrow.engine.shard import Shard
from outgrow.errors import ParameterError
from outgrow.ml.core.inputs import open_rows
from outgrow.ml.core.outputs import collect
from outgrow.ml.core.parameters import Integer, OneOf
from outgrow.ml.core.task import Task, column_names
from outgrow.ml.trees.overlay import structure
from outgrow.ml.trees.planted import PlantedTrees
from outgrow.ml.trees.tree import TreeStructure
from outgrow.ml.trees.written import written

NOT_ONE_TREE = (
    "{} has no single tree: {}. Its `trees_` are the tree of each answer; predictions are not affected."
)


class SingleTree(PlantedTrees):
    """One tree that all rows have grown."""

    parameters = {"splitter": OneOf("best", "random")}
    exempt: ClassVar[dict[str, str]] = {}
    splitter: str
    feature_names_: list[str]

    @property
    def _draws_splits(self) -> bool:
        return self.splitter == "random"

    def _prepared(self, shard: Shard, task: Task) -> Shard:
        features = task.features(shard.example)
        self.feature_names_ = column_names(shard.example.select(features)).tolist()
        return super()._prepared(shard, task)

    @property
    def trees_(self) -> list[TreeStructure]:
        """The tree of each answer: one, or of more than two classes or several targets one for each."""
        return self._structures(1.0)[0]

    @property
    def tree_(self) -> TreeStructure:
        """The nodes under the names that scikit-learn's have.

        Raises
        ------
        AttributeError
            When there are several targets, or XGBoost grew a tree for each of several classes.
        """
        check_is_fitted(self)
        if self.target_names_ is not None:
            raise AttributeError(NOT_ONE_TREE.format(type(self).__name__, "it answers several targets"))
        tree = structure(self.booster_bytes_, self.n_features_, hasattr(self, "classes_"))
        if tree is None:
            raise AttributeError(
                NOT_ONE_TREE.format(type(self).__name__, "XGBoost grew it, a tree for each class")
            )
        return tree

    def get_depth(self) -> int:
        """The most splits between the root and a leaf."""
        return self.tree_.max_depth

    def get_n_leaves(self) -> int:
        """How many leaves there are."""
        return self.tree_.n_leaves

    def apply(self, X: Any) -> np.ndarray:
        """The leaf in which each row of an array or a table ends, of shape (rows,).

        Parameters
        ----------
        X : rows with the columns of the fit.
        """
        tree = self.tree_
        found: np.ndarray = collect(open_rows(self, X), lambda batch: tree.apply(self._dense(batch)))
        return found

    def decision_path(self, X: Any) -> sp.csr_array:
        """Which nodes each row of an array or a table passes, of shape (rows, nodes).

        Parameters
        ----------
        X : rows with the columns of the fit.
        """
        return self.tree_.decision_path(collect(open_rows(self, X), self._dense))

    def _dense(self, batch: Any) -> np.ndarray:
        """The rows of a batch as the tree sees them: float32, and NaN for what is absent."""
        X = self._matrix(batch)
        rows = np.asarray(X.toarray() if is_sparse(X) else X, dtype=np.float32)
        return np.where((rows == 0) & self._absent, np.float32(np.nan), rows)

    def export_text(
        self, *, max_depth: int = 10, decimals: int = 2, spacing: int = 3, show_weights: bool = False
    ) -> str:
        """The tree as text, laid out as scikit-learn's `export_text` does, with the names of the columns.

        Parameters
        ----------
        max_depth : splits deeper than this are left out.
        decimals : of thresholds and values.
        spacing : by how many characters each level stands further right.
        show_weights : what the rows of each class in a leaf weigh, of a classifier.

        Raises
        ------
        AttributeError
            When it is not a single tree, as `tree_` says.
        """
        for name, value, low in (
            ("max_depth", max_depth, 0),
            ("decimals", decimals, 0),
            ("spacing", spacing, 1),
        ):
            if value not in Integer(low=low):
                raise ParameterError(f"export_text({name}={value!r}): give a whole number of at least {low}.")
        return written(
            self.tree_,
            self.feature_names_,
            lambda node: self._written_leaf(node, decimals, weights=show_weights),
            self.categories_,
            max_depth=max_depth,
            decimals=decimals,
            spacing=spacing,
        )

    def _written_leaf(self, node: int, decimals: int, *, weights: bool) -> str:
        raise NotImplementedError


def listed(values: np.ndarray, decimals: int) -> str:
    """Numbers as a leaf shows them.

    Parameters
    ----------
    values : shape (numbers,).
    decimals : of each.
    """
    return f"[{', '.join(f'{value:.{decimals}f}' for value in values)}]"
