"""The single trees of a fitted ensemble, to be walked through as scikit-learn's."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
import scipy.sparse as sp
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin

from outgrow.data.matrix import is_sparse
from outgrow.errors import DataError
from outgrow.ml.several_classes import joined
from outgrow.ml.trees.forest import Tree

LEAF, NO_FEATURE = -1, -2


class TreeStructure:
    """The nodes of a tree under the names that scikit-learn's have; node 0 is the root.

    Attributes
    ----------
    node_count, n_leaves, max_depth : how many nodes and leaves there are, and the most splits above a leaf.
    children_left, children_right : ndarrays of shape (nodes,); -1 at leaves.
    feature : ndarray of shape (nodes,), on which each node splits; -2 at leaves.
    threshold : ndarray of shape (nodes,): rows whose feature, as float32, is at most this go left; -2 at
        leaves and NaN where categories decide.
    missing_go_to_left : ndarray of shape (nodes,), whether rows without a value go left.
    value : ndarray of shape (nodes, 1, answers), what each node would answer: a number, or shares of classes.
    weighted_n_node_samples : ndarray of shape (nodes,), the second derivatives of the loss summed over the
        rows of each node: their weight, where the loss is a square.
    n_node_samples : the same as whole numbers.
    sets : of nodes that split on categories, the codes of those that go right.
    """

    def __init__(self, tree: Tree, value: np.ndarray) -> None:
        leaf = tree.left < 0
        self.children_left, self.children_right = tree.left, tree.right
        self.feature = np.where(leaf, NO_FEATURE, tree.feature)
        below = np.nextafter(tree.value, np.float32(-np.inf))  # XGBoost sends smaller ones left
        self.threshold = np.where(leaf, np.float32(NO_FEATURE), below).astype(np.float64)
        self.threshold[list(tree.sets)] = np.nan
        self.missing_go_to_left = tree.default_left.astype(np.uint8)
        self.value = value.reshape(len(value), 1, -1)
        self.weighted_n_node_samples = tree.cover.astype(np.float64)
        self.n_node_samples = np.rint(self.weighted_n_node_samples).astype(np.int64)
        self.node_count, self.n_leaves = len(leaf), int(leaf.sum())
        self.sets = {node: np.array(right) for node, right in tree.sets.items()}

    @cached_property
    def depths(self) -> np.ndarray:
        """How many splits lie above each node."""
        depths = np.zeros(self.node_count, dtype=np.int64)
        for node in np.flatnonzero(self.children_left >= 0):  # parents come before their children
            depths[[self.children_left[node], self.children_right[node]]] = depths[node] + 1
        return depths

    @property
    def max_depth(self) -> int:
        return int(self.depths.max())

    def apply(self, X: Any) -> np.ndarray:
        """The leaf in which each row of an array ends."""
        return self._walk(X)[-1]

    def predict(self, X: Any) -> np.ndarray:
        """The value of the leaf of each row, of shape (rows, answers)."""
        found: np.ndarray = self.value[self.apply(X), 0]
        return found

    def decision_path(self, X: Any) -> sp.csr_array:
        """Which nodes each row passes, of shape (rows, nodes)."""
        steps = self._walk(X)
        rows = np.tile(np.arange(len(steps[0])), len(steps))
        nodes = np.concatenate(steps)
        passed = sp.csr_array((np.ones(len(nodes)), (rows, nodes)), shape=(len(steps[0]), self.node_count))
        passed.data[:] = 1
        return passed

    def _walk(self, X: Any) -> list[np.ndarray]:
        """The node of each row at the root, one level below, ..., and at its leaf."""
        X = np.asarray(X, dtype=np.float32)
        at = np.zeros(len(X), dtype=np.int64)
        steps, inner = [at], self.children_left[at] >= 0
        while inner.any():
            rows = np.flatnonzero(inner)
            nodes = at[rows]
            left = self._goes_left(X[rows, self.feature[nodes]], nodes)
            at = at.copy()
            at[rows] = np.where(left, self.children_left[nodes], self.children_right[nodes])
            steps.append(at)
            inner = self.children_left[at] >= 0
        return steps

    def _goes_left(self, values: np.ndarray, nodes: np.ndarray) -> np.ndarray:
        left = values <= self.threshold[nodes]
        for node in self.sets.keys() & set(nodes.tolist()):
            here = nodes == node
            left[here] = ~np.isin(values[here], self.sets[node])
        missing = np.isnan(values)
        left[missing] = self.missing_go_to_left[nodes[missing]] == 1
        return left


class FittedTree(BaseEstimator):
    """One round of an ensemble: a tree, or one for each of several outputs.

    It takes arrays as the ensemble's trees see them: with numbers from 1 in place of the categories of text,
    and NaN for missing values.

    Parameters
    ----------
    trees : the structure of each.
    max_depth, min_impurity_decrease, random_state : with which it was grown.
    zeros_absent : whether a zero counts as missing; of all features, or of each.
    """

    def __init__(
        self,
        trees: Sequence[TreeStructure],
        max_depth: int | None = None,
        min_impurity_decrease: float = 0.0,
        random_state: int | None = None,
        zeros_absent: Any = False,
    ) -> None:
        self.trees = trees
        self.max_depth = max_depth
        self.min_impurity_decrease = min_impurity_decrease
        self.random_state = random_state
        self.zeros_absent = zeros_absent

    @property
    def tree_(self) -> TreeStructure:
        """The structure, where there is one."""
        if len(self.trees) > 1:
            raise AttributeError(
                f"With several classes each has a tree of its own: see the {len(self.trees)} in `trees`."
            )
        return self.trees[0]

    def get_depth(self) -> int:
        """The most splits between the root and a leaf."""
        return max(tree.max_depth for tree in self.trees)

    def get_n_leaves(self) -> int:
        """How many leaves there are."""
        return sum(tree.n_leaves for tree in self.trees)

    def apply(self, X: Any) -> np.ndarray:
        """The leaf of each row of an array: of shape (rows,), or (rows, trees)."""
        leaves = np.column_stack([tree.apply(self._rows(X)) for tree in self.trees])
        return leaves[:, 0] if len(self.trees) == 1 else leaves

    def decision_path(self, X: Any) -> sp.csr_array:
        """Which nodes each row passes, of shape (rows, nodes)."""
        return sp.csr_array(sp.hstack([tree.decision_path(self._rows(X)) for tree in self.trees]))

    def _values(self, X: Any) -> np.ndarray:
        return np.hstack([tree.predict(self._rows(X)) for tree in self.trees]).astype(np.float64)

    def _rows(self, X: Any) -> np.ndarray:
        rows = np.asarray(X.toarray() if is_sparse(X) else X, dtype=np.float32)
        if rows.ndim != 2:
            raise DataError(f"Expected 2D array, got an array of shape {rows.shape}: give rows and features.")
        return np.where((rows == 0) & self.zeros_absent, np.float32(np.nan), rows)


class RegressionTree(RegressorMixin, FittedTree):
    """A tree that answers numbers; they count from `offset`, in units of `scale`."""

    def __init__(
        self,
        trees: Sequence[TreeStructure],
        offset: float = 0.0,
        scale: float = 1.0,
        max_depth: int | None = None,
        min_impurity_decrease: float = 0.0,
        random_state: int | None = None,
        zeros_absent: Any = False,
    ) -> None:
        super().__init__(trees, max_depth, min_impurity_decrease, random_state, zeros_absent)
        self.offset = offset
        self.scale = scale

    def predict(self, X: Any) -> np.ndarray:
        """What the tree answers for each row of an array, of shape (rows,)."""
        values = self._values(X)
        return (values[:, 0] if values.shape[1] == 1 else values) * self.scale + self.offset


class ClassificationTree(ClassifierMixin, FittedTree):
    """A tree that answers shares of classes."""

    def __init__(
        self,
        trees: Sequence[TreeStructure],
        classes: Any = None,
        max_depth: int | None = None,
        min_impurity_decrease: float = 0.0,
        random_state: int | None = None,
        zeros_absent: Any = False,
    ) -> None:
        super().__init__(trees, max_depth, min_impurity_decrease, random_state, zeros_absent)
        self.classes = classes

    @property
    def classes_(self) -> Any:
        """The classes, sorted; of several targets a list of those of each."""
        assert self.classes is not None
        return self.classes

    def predict_proba(self, X: Any) -> Any:
        """The share of each class in the leaf of each row of an array; of several targets a list."""
        values = self._values(X)
        if isinstance(self.classes_, list):
            return shares_of_each(values, self.classes_)
        return shares_of(np.clip(values, 0.0, 1.0))

    def predict(self, X: Any) -> np.ndarray:
        """The most frequent class in the leaf of each row of an array; of several targets that of each."""
        shares = self.predict_proba(X)
        if isinstance(self.classes_, list):
            return joined([c[own.argmax(axis=1)] for c, own in zip(self.classes_, shares, strict=True)])
        found: np.ndarray = self.classes_[shares.argmax(axis=1)]
        return found


def shares_of_each(means: np.ndarray, classes: Sequence[np.ndarray]) -> list[np.ndarray]:
    """The shares of the classes of each target.

    Parameters
    ----------
    means : shape (rows, sums), the targets side by side: of two classes the second, of more each.
    classes : the labels of each target.

    Returns
    -------
    Of each target an array of shape (rows, classes), whose rows sum to 1.
    """
    widths = [len(own) if len(own) > 2 else 1 for own in classes]
    table = np.clip(np.reshape(means, (-1, sum(widths))), 0.0, 1.0)
    return [shares_of(own) for own in np.split(table, np.cumsum(widths)[:-1], axis=1)]


def shares_of(chances: np.ndarray) -> np.ndarray:
    """Shares of classes that sum to one: from that of the second of two, or of each, which may not."""
    if chances.ndim == 1 or chances.shape[1] == 1:
        second = np.ravel(chances)
        return np.column_stack([1 - second, second])
    total = chances.sum(axis=1, keepdims=True)
    return np.divide(chances, total, out=np.full_like(chances, 1 / chances.shape[1]), where=total > 0)
