"""What models share that predict the mean of y through a link, with a squared penalty."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
from sklearn.exceptions import ConvergenceWarning

from outgrow.data.matrix import is_sparse
from outgrow.engine.blocks import Block
from outgrow.engine.folded import FoldedView
from outgrow.engine.matrix import MatrixView
from outgrow.errors import DataError, ParameterError
from outgrow.ml.base import Regressor
from outgrow.ml.base.contributions import products_of
from outgrow.ml.core.candidates import Candidate, learn_apart, usable
from outgrow.ml.core.exports import no_equal
from outgrow.ml.core.scoring import Scoring
from outgrow.ml.export.onnx.answer import Answer, features
from outgrow.ml.export.onnx.table import Table
from outgrow.ml.linear_model.deviance_scores import DevianceScoring
from outgrow.ml.linear_model.warm_start import WarmStarted
from outgrow.ml.solvers.cost import by_newton
from outgrow.ml.solvers.families import Family, MeanLoss, is_newton
from outgrow.ml.solvers.links import Link
from outgrow.ml.solvers.minimum import Parameters, minimum
from outgrow.ml.solvers.newton import Minima, newton
from outgrow.ml.solvers.objective import Objective
from outgrow.ml.solvers.offsets import Offsets

_LEAST = 1e-10
"""How near the end of its range a mean may lie where a fit begins."""
_SLOW = 1e-4
"""Of `tol`, where steps do not double the digits."""


class MeanRegressor(WarmStarted, Regressor):
    """Predicts the mean of y as the inverse of a link of X @ coef_ + intercept_. Hooks: the two of them."""

    roles = {"offset": False, "exposure": False}
    score_metric = "d2"
    _follows_type = ("coef_",)
    shared_fit_parameters = ("alpha",)

    alpha: float
    l1_ratio: float = 0.0
    """Share of the penalty that is absolute."""

    fit_intercept: bool
    max_iter: int
    tol: float

    coef_: np.ndarray
    intercept_: float
    mean_: float

    def _family(self) -> Family:
        raise NotImplementedError

    def _link(self) -> Link:
        raise NotImplementedError

    @property
    def _scoring(self) -> Scoring:  # type: ignore[override]
        return DevianceScoring(self._family(), getattr(self, "mean_", 1.0))

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.positive_only = not self._family().takes(np.array([-1.0])).all()
        return tags

    def _fit(self, view: MatrixView) -> None:
        rows = FoldedView.whole(view)
        (opening,) = self._openings(rows)
        self._check_opening(opening)
        objective = self._objective(rows, [self], np.zeros(1, dtype=np.intp), [opening])
        begin, constants = self._begin(1, view.width), self._constant(opening)
        if begin is None and not self.fit_intercept and not self._knows_zero():
            begin = self._least_squares(view, opening)
        found = self._minimum(rows, objective, opening, begin, constants)
        if begin is None and not np.isfinite(found[0].objective[0]):
            begin = self._least_squares(view, opening)
            found = self._minimum(rows, objective, opening, begin, constants)
        minima, offsets = found
        if not np.isfinite(minima.objective[0]):
            raise self._outside()
        self._take(objective, minima, 0, offsets, opening)
        if not minima.converged[0]:
            self._warn()
        self._infer(rows, objective, minima, offsets, opening)

    def _infer(
        self, rows: FoldedView, objective: Objective, minima: Minima, offsets: Offsets, opening: np.ndarray
    ) -> None:
        """Learn what a summary needs beside the coefficients; a model without one learns nothing more."""

    def _minimum(
        self,
        rows: FoldedView,
        objective: Objective,
        opening: np.ndarray,
        begin: Parameters | None,
        constant: float,
    ) -> tuple[Minima, Offsets]:
        constants = np.array([constant])
        if by_newton(rows.view, objective):
            tol, steps = self._share(), self.max_iter
            return newton(rows, objective, tol=tol, max_iter=steps, begin=begin, constants=constants)
        bend = np.array([self._information(opening, constant)])
        return minimum(
            rows,
            objective,
            bend=bend,
            tol=self.tol,
            max_iter=self.max_iter,
            begin=begin,
            constants=constants,
        )

    def _share(self) -> float:
        """Of the objective: what the last step may leave to gain; expected curvatures gain digits slowly."""
        return self.tol if is_newton(self._family(), self._link()) else _SLOW * self.tol

    def _information(self, opening: np.ndarray, constant: float) -> float:
        """About how much the scores of all rows bend the loss."""
        eta = np.array([constant])
        mean = self._link().inverse(eta)
        slope = self._link().slope(eta, mean)
        return float(opening[0] * slope[0] ** 2 / self._family().variance(mean)[0])

    @classmethod
    def _fit_many(cls, rows: FoldedView, candidates: Sequence[Candidate]) -> None:
        chosen = usable(rows, candidates)
        if not chosen:
            return
        one = chosen[0].model
        openings = one._openings(rows)
        for candidate in chosen:
            candidate.attempt(lambda each=candidate: one._check_opening(openings[each.fold]))  # type: ignore[misc]
        chosen = [candidate for candidate in chosen if candidate.error is None]
        if not chosen:
            return
        folds = np.array([candidate.fold for candidate in chosen])
        objective = cls._objective(rows, [each.model for each in chosen], folds, openings)
        if not one._stacks() or not by_newton(rows.view, objective):
            learn_apart(rows, chosen)
            return
        constants = np.array([[one._constant(openings[k])] for k in folds])
        minima, offsets = newton(
            rows, objective, tol=one._share(), max_iter=one.max_iter, constants=constants
        )
        for place, candidate in enumerate(chosen):
            candidate.model._take(objective, minima, place, offsets, openings[candidate.fold])
        done = minima.converged & np.isfinite(minima.objective)
        learn_apart(rows, [each for each, good in zip(chosen, done, strict=True) if not good])

    def _stacks(self) -> bool:
        """Whether settings and folds may be learned in the same steps."""
        return self.fit_intercept or self._knows_zero()

    def _knows_zero(self) -> bool:
        """Whether there is a mean whose linear predictor is zero."""
        mean = self._link().inverse(np.zeros(1))
        return bool(np.isfinite(mean).all() and self._family().has(mean).all())

    def _openings(self, rows: FoldedView) -> list[np.ndarray]:
        """What a fit must know before it begins, of each fold, from one pass: see `_sums`."""
        return rows.each(self._sums)  # type: ignore[arg-type]

    def _sums(self, block: Block) -> np.ndarray:
        """Weight, weighted y, offsets and their exponentials; how many y and exposures cannot be, and which.

        The last two: for how many rows an offset is given, and an exposure.
        """
        y = np.asarray(block.y)
        w = np.ones(len(y)) if block.weight is None else block.weight
        offset = self._offset(block)
        with np.errstate(over="ignore"):
            spread = float(w @ np.exp(offset))
        wrong = ~self._family().takes(y)
        exposure = block.roles.get("exposure", np.ones(len(y)))
        given = [len(y) * (role in block.roles) for role in ("offset", "exposure")]
        sums = [w.sum(), w @ y, w @ offset, spread, wrong.sum(), y[wrong].sum(), (exposure <= 0).sum()]
        return np.array([*sums, *given], dtype=np.float64)

    def _check_opening(self, opening: np.ndarray) -> None:
        family, link = self._family(), self._link()
        if opening[4]:
            raise DataError(
                f"Some value(s) of y are out of the valid range of the family {family.name!r}: "
                f"{opening[4]:.0f} value(s), whose mean is {opening[5] / opening[4]:.6g}. "
                f"They must be {family.y_must_be}. Leave those rows out, or choose another family."
            )
        if opening[6]:
            raise DataError(
                f"{opening[6]:.0f} row(s) have an exposure that is not greater than 0. Leave them out."
            )
        if opening[8] and link.name != "log":
            raise ParameterError(
                f"{type(self).__name__}.fit(exposure=...) needs link='log', and the link is {link.name!r}. "
                "Give y for each unit of exposure, with the exposure as sample_weight."
            )

    def _constant(self, opening: np.ndarray) -> float:
        """The intercept of a model without features, or one near it that the family knows."""
        family, link = self._family(), self._link()
        weight, y, offset, spread = opening[:4]
        mean = y / weight
        inside = np.clip(mean, _LEAST, 1 - _LEAST) if family.name == "binomial" else mean
        if not family.has(np.array([inside]))[0]:
            inside = _LEAST
        if link.name == "log" and np.isfinite(spread) and spread > 0:
            return float(np.log(max(inside * weight, _LEAST) / spread))
        constant = float(link.apply(np.array([inside]))[0]) - offset / weight
        return constant if np.isfinite(constant) else 0.0

    def _least_squares(self, view: MatrixView, opening: np.ndarray) -> Parameters:
        """Where a fit begins whose constant alone tells no means: least squares of the link of smoothed y."""
        family, link, mean = self._family(), self._link(), opening[1] / opening[0]

        def fold(block: Block) -> tuple[np.ndarray, np.ndarray]:
            X = block.X.toarray() if is_sparse(block.X) else block.X
            X = np.column_stack([X, np.ones(len(X))]) if self.fit_intercept else X
            smooth = (np.asarray(block.y) + mean) / 2
            score = link.apply(smooth)
            weight = link.slope(score, smooth) ** 2 / family.variance(smooth)
            good = np.isfinite(score) & np.isfinite(weight)
            weight = np.where(good, weight if block.weight is None else weight * block.weight, 0.0)
            target = np.where(good, score - self._offset(block), 0.0)
            return (X * weight[:, None]).T @ X, X.T @ (weight * target)

        products, target = view.reduce(fold)
        found = np.linalg.pinv(products, hermitian=True) @ target
        return found[None, : view.width], found[view.width :] if self.fit_intercept else np.zeros(1)

    @staticmethod
    def _offset(block: Block) -> np.ndarray:
        """What is added to the linear predictors of rows, of shape (rows,)."""
        offset = block.roles.get("offset", np.zeros(len(block)))
        if "exposure" not in block.roles:
            return offset
        return offset + np.log(np.maximum(block.roles["exposure"], np.finfo(np.float64).tiny))

    def _shifted(self, means: np.ndarray, block: Block) -> np.ndarray:
        """Means with the offset and the exposure of the rows of a block, from those without."""
        with np.errstate(all="ignore"):
            link = self._link()
            return np.asarray(link.inverse(link.apply(means) + self._offset(block)))

    @classmethod
    def _objective(
        cls, rows: FoldedView, models: Sequence[Any], folds: np.ndarray, openings: Sequence[np.ndarray]
    ) -> Objective:
        one = models[0]
        weights = np.array([openings[k][0] for k in folds])
        alphas = np.array([float(model.alpha) for model in models]) * weights
        shares = np.array([float(model.l1_ratio) for model in models])
        shifted = any(opening[7:].any() for opening in openings)
        loss = MeanLoss(one._family(), one._link())
        return Objective(
            loss,
            rows.view.width,
            one.fit_intercept,
            folds,
            alphas * shares,
            alphas * (1 - shares),
            offset=cls._offset if shifted else None,
        )

    def _take(self, objective: Objective, minima: Any, place: int, offsets: Any, opening: np.ndarray) -> None:
        coef, constants = objective.unpack(minima.w[place])
        self.coef_ = coef[0]
        self.intercept_ = float(offsets.restore(coef, constants)[0]) if self.fit_intercept else 0.0
        self.n_iter_ = int(minima.steps[place])
        self.mean_ = float(opening[1] / opening[0])

    def _outside(self) -> DataError:
        family, link = self._family(), self._link()
        return DataError(
            f"{type(self).__name__}: there is no point to begin at: with link={link.name!r} some rows would "
            f"have means that the family {family.name!r} does not know. Use link='log', scale the columns, "
            "or give an offset for which the means can be."
        )

    def _warn(self) -> None:
        warnings.warn(
            f"{type(self).__name__} failed to converge after {self.max_iter} iterations at most. "
            "Increase the number of iterations: raise max_iter, scale the columns, or penalise more (a "
            f"larger alpha). With link={self._link().name!r} the minimum may lie where means cannot be.",
            ConvergenceWarning,
            stacklevel=2,
        )

    def _predict(self, X: Any) -> np.ndarray:
        return self._link().inverse(X @ self.coef_ + self.intercept_)

    def predict(self, X: Any) -> Any:
        """Predicted means, for an offset of 0 and an exposure of 1: an array, or columns and `prediction`."""
        predicted = super().predict(X)
        single = (isinstance(X, np.ndarray) or is_sparse(X)) and X.dtype == self.coef_.dtype == np.float32
        return predicted.astype(np.float32) if single else predicted

    def _contributions(self, X: Any) -> np.ndarray:
        """What each feature adds before the link, and the constant: (rows, outputs, features + 1)."""
        return products_of(X, self.coef_, self.intercept_)

    def _to_onnx(self, table: Table) -> Answer:
        graph = table.graph
        X = features(self.features_, table, type(self).__name__)
        product = graph.node("MatMul", X, graph.constant(self.coef_.astype(np.float64)[:, None]))
        score = graph.node("Add", product, graph.constant(np.atleast_1d(self.intercept_)))
        mean = self._link().in_onnx(graph, graph.node("Squeeze", score, graph.constant([1], np.int64)))
        if mean is None:
            raise no_equal(self, "ONNX")
        return Answer(mean)
