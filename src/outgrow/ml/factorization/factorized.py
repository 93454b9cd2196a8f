"""What the two factorization machines have in common."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np

from outgrow.engine.blocks import Block
from outgrow.engine.matrix import MatrixView
from outgrow.errors import ArtifactError
from outgrow.ml.base import Model
from outgrow.ml.core.parameters import FLAG, RANDOM_STATE, Integer, Number, seed
from outgrow.ml.export.onnx.answer import features
from outgrow.ml.export.onnx.table import Table
from outgrow.ml.factorization.machine import Machine
from outgrow.ml.solvers.lbfgs import lbfgs
from outgrow.ml.solvers.output_losses import Loss


class Factorized(Model):
    """Factorization machines, learned by L-BFGS."""

    parameters = {
        "n_factors": Integer(low=0),
        "fit_linear": FLAG,
        "fit_intercept": FLAG,
        "alpha": Number(low=0),
        "init_std": Number(above=0),
        "max_iter": Integer(low=1),
        "tol": Number(low=0),
        "random_state": RANDOM_STATE,
    }
    test_parameters = {"n_factors": 2, "init_std": 0.1, "alpha": 0.01, "tol": 0.02}
    no_exports: ClassVar[dict[str, str]] = {"scikit-learn": "it has no factorization machines"}

    n_factors: int
    fit_linear: bool
    fit_intercept: bool
    alpha: float
    init_std: float
    max_iter: int
    tol: float
    random_state: Any

    coef_: np.ndarray
    intercept_: Any
    factors_: np.ndarray
    loss_: float
    n_iter_: int

    @property
    def _machine(self) -> Machine:
        scores, width = np.atleast_2d(self.coef_).shape
        return Machine(width, scores, self.factors_.shape[-1])

    def _learn(
        self,
        view: MatrixView,
        constants: np.ndarray,
        loss: Loss,
        row: Callable[[Block], tuple[np.ndarray, np.ndarray | None]],
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Minimise the mean loss and the penalty, a pass for each step.

        Parameters
        ----------
        view : the rows.
        constants : ndarray of shape (scores,), where the constants begin.
        loss : of rows.
        row : of a block, its y of shape (rows, scores), and what its rows weigh, None for 1.

        Returns
        -------
        What `Machine.parts` gives.
        """
        machine = Machine(
            view.width, len(constants), int(self.n_factors), bool(self.fit_linear), bool(self.fit_intercept)
        )

        def fold(w: np.ndarray) -> Callable[[Block], np.ndarray]:
            return lambda block: machine.sums(block.X, *row(block), w, loss)

        def penalty(w: np.ndarray, weight: float) -> tuple[float, np.ndarray]:
            shrunk = float(self.alpha) * w
            shrunk[-machine.scores :] = 0.0
            return 0.5 * float(shrunk @ w), shrunk

        begin = constants if self.fit_intercept else np.zeros_like(constants)
        w, self.loss_, self.n_iter_ = lbfgs(
            view,
            fold,
            penalty,
            machine.start(seed(self.random_state), float(self.init_std), begin),
            limits={"maxiter": int(self.max_iter), "gtol": float(self.tol), "ftol": _NEAR},
            owner=type(self).__name__,
        )
        return machine.parts(w)

    def _restored(self) -> None:
        shape = np.shape(self.coef_)
        if not shape or np.shape(self.factors_)[:-1] != shape or np.shape(self.intercept_) != shape[:-1]:
            raise ArtifactError(
                "The coefficients and factors of the model do not fit one another. Restore it from a copy."
            )

    def _outputs(self, X: Any) -> np.ndarray:
        """The scores, of shape (rows, scores)."""
        machine = self._machine
        return machine.outputs(X, machine.pack(*self._parts()))

    def _parts(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        coef = np.atleast_2d(self.coef_)
        return coef, np.atleast_1d(self.intercept_), self.factors_.reshape(*coef.shape, -1)

    def _onnx_outputs(self, table: Table) -> str:
        """The scores as a tensor of shape (rows, scores)."""
        graph, (coef, constants, factors) = table.graph, self._parts()
        X = features(self.features_, table, type(self).__name__)
        linear = graph.node("MatMul", X, graph.constant(np.ascontiguousarray(coef.T)))
        scores = graph.node("Add", linear, graph.constant(constants[None, :]))
        kinds, width, each = factors.shape
        if not each:
            return scores
        flat = factors.transpose(1, 0, 2).reshape(width, -1)
        sums = graph.node("MatMul", X, graph.constant(flat))
        adding = np.kron(np.eye(kinds), np.full((each, 1), 0.5))
        pairs = graph.node("MatMul", graph.node("Mul", sums, sums), graph.constant(adding))
        half = np.ascontiguousarray(0.5 * (factors**2).sum(axis=2).T)
        alone = graph.node("MatMul", graph.node("Mul", X, X), graph.constant(half))
        return graph.node("Sub", graph.node("Add", scores, pairs), alone)


_NEAR = 1e-12
"""Steps that gain less, as a share of the loss, end it: near its start, where factors are small, all do."""
