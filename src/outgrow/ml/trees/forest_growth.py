"""Forests on rows that fit in the memory of one rank once they are in bins: our own kernels grow them."""

from __future__ import annotations

from outgrow._optional import optional
from outgrow.engine.matrix import MatrixView
from outgrow.errors import ParameterError
from outgrow.ml.trees.bins import sampled_rows
from outgrow.ml.trees.plan import Grown, Plan, weighted

MOST_CELLS = 1 << 27
"""Values of all rows, two bytes each on every rank; of more, XGBoost grows the trees."""
_KNOWN = {
    *("objective", "base_score", "learning_rate", "reg_lambda", "colsample_bynode", "min_child_weight"),
    *("gamma", "seed", "seed_per_iteration", "max_depth", "max_bin", "max_cached_hist_node"),
    *("grow_policy", "max_leaves"),
}


def suits(view: MatrixView, plan: Plan) -> bool:
    """Whether the kernels can grow it: the same answer on any engine and partitioning.

    Parameters
    ----------
    view : the rows.
    plan : what to grow; categories and constraints are left to XGBoost.
    """
    return (
        plan.apart
        and plan.kinds is None
        and set(plan.parameters) <= _KNOWN
        and (plan.bins or plan.parameters["max_bin"]) < 1 << 16
        and view.rows * view.width <= MOST_CELLS
    )


def refuse_for_xgboost(view: MatrixView, plan: Plan) -> None:
    """Refuse what the kernels alone can do, where they cannot grow the trees.

    Parameters
    ----------
    view : the rows.
    plan : what to grow.

    Raises
    ------
    ParameterError
        When the plan asks for any of it.
    """
    if not plan.ours_alone:
        return
    why = "monotonic_cst is given"
    if plan.kinds is not None:
        why = "there are columns of categories"
    elif view.rows * view.width > MOST_CELLS:
        why = f"{view.rows} rows of {view.width} features are more than {MOST_CELLS} values"
    elif (plan.bins or 0) >= 1 << 16:
        why = f"max_bins={plan.bins} are more than {(1 << 16) - 1}"
    raise ParameterError(
        f"{', '.join(plan.ours_alone)}: XGBoost grows the trees, as {why}, and knows no such thing. Leave it "
        "out; or encode categories as numbers, or give fewer rows or features."
    )


def grow(view: MatrixView, plan: Plan) -> Grown:
    """Grow the trees; every rank gets the same.

    Parameters
    ----------
    view : the rows that this rank has of all.
    plan : what to grow.

    Raises
    ------
    DataError
        When a value does not fit float32.
    MissingExtraError
        Without Numba.
    """
    optional("numba", "trees")
    from outgrow.ml.trees import forest_trees

    sample = None
    if not view.has_made(forest_trees.key(plan)):
        sample = sampled_rows(view, plan.seed, lambda block: weighted(block, plan))
    return view.run.call(lambda: forest_trees.grow(view, plan, sample))
