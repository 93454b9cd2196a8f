"""Forests that tell unusual rows by how soon chance isolates them."""

from __future__ import annotations

import warnings
from numbers import Integral
from typing import Any

import numpy as np

from outgrow._optional import optional
from outgrow.data.hashing import seeded
from outgrow.data.matrix import is_sparse
from outgrow.engine.matrix import MatrixView
from outgrow.errors import ParameterError
from outgrow.ml.base import OutlierModel
from outgrow.ml.core.parameters import RANDOM_STATE, Integer, OneOf, Share, Unused, seed
from outgrow.ml.export.onnx.answer import Answer, features
from outgrow.ml.export.onnx.table import Table
from outgrow.ml.export.sklearn.twin import twin
from outgrow.ml.trees.forest import Tree
from outgrow.ml.trees.onnx import each_tree
from outgrow.stats.quantiles import quantiles

MOST_SAMPLED = 1 << 28
"""Numbers that the samples of all trees may hold: a gigabyte."""


class IsolationForest(OutlierModel):
    """Tell outliers by how few random splits part them from other rows (Liu, Ting and Zhou 2008).

    Each tree sees `max_samples` rows, those of least hash, and splits them at random numbers of random
    features until each is alone. One look at the rows draws the samples of all trees, so the forest is the
    same on any engine and partitioning; `contamination` takes one more, in which all rows are scored. Needs
    Numba (the extra `fast`).

    Parameters
    ----------
    n_estimators : trees.
    max_samples : rows that each tree sees: a number, a share of all, or 'auto' for 256.
    contamination : share of the rows of the fit that are to be outliers, by the exact quantile of their
        scores; 'auto' for those that score below -0.5, as in the paper.
    max_features : features that each tree may split on: a share, or a number.
    bootstrap : False: a tree sees no row twice.
    n_jobs, verbose, warm_start : accepted as in scikit-learn, without effect; `warm_start` must be False.
    random_state : seed of samples and splits; None means 0.

    Attributes
    ----------
    offset_ : rows that score less are outliers.
    max_samples_ : rows that each tree saw.
    starts_, left_, feature_, threshold_, size_, depth_ : the nodes of all trees, one tree after the other:
        where those of each begin, the left child counted from the root (the right one is behind it; -1 of
        leaves), its feature, the greatest number that goes left, how many rows it has, and how many splits
        are above it.
    n_features_ : width of the matrix.

    Notes
    -----
    Unlike scikit-learn: rows are drawn by their hashes, and by their weights, a row of weight w being as
    likely as w rows; numbers may not be missing; `bootstrap` and `warm_start` are refused.

    Examples
    --------
    >>> import numpy as np, outgrow as og
    >>> X = np.append(np.linspace(0, 1, 50), 9.0)[:, None]
    >>> og.IsolationForest(random_state=0).fit(X).predict(np.array([[0.5], [9.0]])).tolist()
    [1, -1]
    """

    _samples = True
    _by_rows = True
    _frees_lock = True
    _export_tolerance = 1e-6
    parameters = {
        "n_estimators": Integer(low=1),
        "max_samples": Integer(low=1) | Share(above=0, high=1) | "auto",
        "contamination": Share(above=0, high=0.5) | "auto",
        "max_features": Integer(low=1) | Share(above=0, high=1),
        "bootstrap": OneOf(False, advice="Give a smaller max_samples."),
        "n_jobs": Unused(),
        "random_state": RANDOM_STATE,
        "verbose": Unused(),
        "warm_start": OneOf(False, advice="Fit anew with more trees."),
    }
    test_parameters = {"n_estimators": 10, "random_state": 0}
    expected_failed_checks = dict.fromkeys(
        (
            "check_sample_weight_equivalence_on_dense_data",
            "check_sample_weight_equivalence_on_sparse_data",
        ),
        "row sampling draws rows, not weights",
    )
    exempt = {"weights_are_repetitions": "row sampling draws rows, not weights"}

    starts_: np.ndarray
    left_: np.ndarray
    feature_: np.ndarray
    threshold_: np.ndarray
    size_: np.ndarray
    depth_: np.ndarray

    def __init__(
        self,
        *,
        n_estimators: int = 100,
        max_samples: int | float | str = "auto",
        contamination: float | str = "auto",
        max_features: int | float = 1.0,
        bootstrap: bool = False,
        n_jobs: int | None = None,
        random_state: Any = None,
        verbose: int = 0,
        warm_start: bool = False,
    ) -> None:
        self.n_estimators = n_estimators
        self.max_samples = max_samples
        self.contamination = contamination
        self.max_features = max_features
        self.bootstrap = bootstrap
        self.n_jobs = n_jobs
        self.random_state = random_state
        self.verbose = verbose
        self.warm_start = warm_start

    # ---- learn -------------------------------------------------------------------------------------------

    def _fit(self, view: MatrixView) -> None:
        trees, first = int(self.n_estimators), seed(self.random_state)
        most = self._sampled(view.rows)
        if trees * most * view.width > MOST_SAMPLED:
            raise ParameterError(
                f"{type(self).__name__}(n_estimators={trees}, max_samples={self.max_samples!r}): samples of "
                f"{most} rows and {view.width} features for {trees} trees hold more than {MOST_SAMPLED} "
                "numbers. Take fewer; 256 rows are what the method was made for."
            )
        ours = _trees_module()
        rows = ours.samples(view, trees, most, first)
        self.max_samples_ = max(map(len, rows))
        deepest = int(np.ceil(np.log2(max(self.max_samples_, 2))))
        randoms = seeded(np.arange(trees, dtype=np.uint64), first + 1)
        count = self._features_of_a_tree(view.width)

        def tree(number: int) -> Any:
            order = np.argsort(seeded(np.arange(view.width, dtype=np.uint64), int(randoms[number])))
            return ours.grown(rows[number], np.sort(order[:count]), randoms[number], deepest)

        self._keep(ours.together(list(view.run.map(tree, range(trees)))))
        self.n_features_ = view.width
        self._restored()
        self.offset_ = -0.5 if self.contamination == "auto" else self._threshold(view)

    def _sampled(self, rows: int) -> int:
        """How many rows a tree sees."""
        wish = self.max_samples
        if wish == "auto":
            return min(256, rows)
        if isinstance(wish, Integral):
            if wish > rows:
                warnings.warn(
                    f"max_samples ({wish}) is greater than the total number of samples ({rows}). max_samples "
                    "will be set to n_samples for estimation.",
                    UserWarning,
                    stacklevel=4,
                )
            return min(int(wish), rows)
        return max(1, int(float(wish) * rows))

    def _features_of_a_tree(self, width: int) -> int:
        wish = self.max_features
        return min(width, int(wish)) if isinstance(wish, Integral) else max(1, int(float(wish) * width))

    def _threshold(self, view: MatrixView) -> float:
        """Below which the wanted share of rows scores."""

        def scores(block: Any) -> np.ndarray:
            X = block.X if block.weight is None else block.X[block.weight > 0]
            return self._score_samples(X)[:, None]

        own = np.concatenate([*view.run.map(scores, list(view.blocks())), np.zeros((0, 1))])
        run = view.run
        found, _ = quantiles(
            lambda fold: run.call(lambda: run.combine(fold(own))), 1, [float(self.contamination)]
        )
        return float(found[0, 0])

    def _keep(self, trees: Any) -> None:
        self.starts_, self.left_, self.feature_ = trees.starts, trees.left, trees.feature
        self.threshold_, self.size_, self.depth_ = trees.threshold, trees.size, trees.depth

    def _restored(self) -> None:
        self._nodes = _trees_module().IsolationTrees(
            self.starts_, self.left_, self.feature_, self.threshold_, self.size_, self.depth_
        )
        self._nodes.check(self.n_features_)

    # ---- answer ------------------------------------------------------------------------------------------

    @property
    def _normal(self) -> float:
        """How far a row comes in all trees together, if it is like all others."""
        mean = float(np.float32(_trees_module().mean_path(np.array(self.max_samples_))))  # as paths are
        return (len(self.starts_) - 1) * mean

    def _score_samples(self, X: Any) -> np.ndarray:
        sums = self._nodes.sums(X.tocsr() if is_sparse(X) else X)
        normal = self._normal
        scores: np.ndarray = -np.exp2(-(sums / normal if normal else np.ones_like(sums)))
        return scores

    # ---- exports -----------------------------------------------------------------------------------------

    def _to_onnx(self, table: Table) -> Answer:
        graph = table.graph
        X = graph.cast(features(self.features_, table, type(self).__name__), "single")
        paths = graph.cast(each_tree(graph, X, self._as_trees(), self.n_features_), "number")
        sums = graph.node("ReduceSum", paths, graph.constant([1], np.int64), keepdims=0)
        normal = self._normal
        share = graph.node("Div", sums, graph.constant(-normal)) if normal else graph.constant(-1.0)
        scores = graph.node("Neg", graph.node("Pow", graph.constant(2.0), share))
        outlying = graph.node("Less", scores, graph.constant(float(self.offset_)))
        minus, plus = graph.constant(-1, np.int64), graph.constant(1, np.int64)
        return Answer(graph.node("Where", outlying, minus, plus), "integer")

    def _as_trees(self) -> list[Tree]:
        """The trees as those of a booster, which sends smaller numbers left."""
        nodes, trees = self._nodes, []
        value = np.where(nodes.left < 0, nodes.path, np.nextafter(nodes.threshold, np.float32(np.inf)))
        for begin, end in zip(self.starts_[:-1], self.starts_[1:], strict=True):
            part = slice(int(begin), int(end))
            left = nodes.left[part].astype(np.int64)
            right = np.where(left < 0, -1, left + 1)
            none = np.zeros(len(left), dtype=bool)
            own = value[part].astype(np.float32)
            trees.append(Tree(0, left, right, nodes.feature[part], own, none, {}, own, nodes.size[part]))
        return trees

    def _sklearn_model(self) -> Any:
        made = twin(
            "ensemble.IsolationForest", n_estimators=self.n_estimators, contamination=self.contamination
        )
        made.estimators_ = [_sklearn_tree(tree, self.n_features_) for tree in self._split_trees()]
        every = np.arange(self.n_features_)
        made.estimators_features_ = [every] * len(made.estimators_)
        made.max_samples_ = made._max_samples = self.max_samples_
        made._max_features, made._n_samples = self.n_features_, self.max_samples_
        made.n_features_in_, made.offset_ = self.n_features_, self.offset_
        sizes = [tree.tree_.n_node_samples for tree in made.estimators_]
        made._average_path_length_per_tree = tuple(map(_trees_module().mean_path, sizes))
        made._decision_path_lengths = tuple(tree.tree_.compute_node_depths() for tree in made.estimators_)
        return made

    def _split_trees(self) -> list[dict[str, np.ndarray]]:
        """The nodes of each tree under scikit-learn's names."""
        nodes, found = self._nodes, []
        for begin, end in zip(self.starts_[:-1], self.starts_[1:], strict=True):
            part = slice(int(begin), int(end))
            left = nodes.left[part].astype(np.intp)
            leaf = left < 0
            found.append(
                {
                    "left_child": left,
                    "right_child": np.where(leaf, -1, left + 1),
                    "feature": np.where(leaf, -2, nodes.feature[part]),
                    "threshold": np.where(leaf, -2.0, nodes.threshold[part]),
                    "n_node_samples": nodes.size[part],
                    "weighted_n_node_samples": nodes.size[part].astype(np.float64),
                }
            )
        return found


def _sklearn_tree(columns: dict[str, np.ndarray], width: int) -> Any:
    """scikit-learn's tree with these nodes."""
    made = twin("tree.ExtraTreeRegressor")
    tree = twin("tree._tree.Tree", width, np.array([1], dtype=np.intp), 1)
    state = tree.__getstate__()
    nodes = np.zeros(len(columns["feature"]), dtype=state["nodes"].dtype)
    for name, values in columns.items():
        nodes[name] = values
    values = np.zeros((len(nodes), 1, 1))
    tree.__setstate__({**state, "node_count": len(nodes), "nodes": nodes, "values": values, "max_depth": 1})
    made.tree_, made.n_features_in_, made.n_outputs_, made.max_features_ = tree, width, 1, 1
    return made


def _trees_module() -> Any:
    """What grows and walks trees, which needs Numba."""
    optional("numba", "fast")
    from outgrow.ml.trees import isolation_trees

    return isolation_trees
