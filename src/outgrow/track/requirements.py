"""What an environment needs to load a model and to answer as it does here."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from importlib.metadata import PackageNotFoundError, version

from outgrow.ml.core.estimator import Estimator

COMPUTING = ("numpy", "scipy", "pyarrow", "scikit-learn")
"""The libraries that predictions are computed with."""
BOOSTING = ("xgboost-cpu", "xgboost")
"""The distributions of XGBoost, any of which will do."""


def requirements_of(model: Estimator) -> list[str]:
    """The lines of a requirements file for a model, with the versions that are here.

    Parameters
    ----------
    model : a fitted estimator.

    Examples
    --------
    >>> import numpy as np, outgrow as og
    >>> from outgrow.track.requirements import requirements_of
    >>> model = og.LinearRegression().fit(np.array([[1.0], [2.0], [3.0]]), np.array([2.0, 4.0, 6.0]))
    >>> [line.partition("==")[0] for line in requirements_of(model)]
    ['outgrow', 'numpy', 'scipy', 'pyarrow', 'scikit-learn']
    """
    trees = any(type(part).__module__.startswith("outgrow.ml.trees.") for part in _parts(model))
    networks = [part for part in _parts(model) if type(part).__module__.startswith("outgrow.deep.")]
    outgrow_requirement = f"outgrow{'[trees]' if trees else ''}=={version('outgrow')}"
    return [
        outgrow_requirement,
        *map(_pinned, COMPUTING),
        *(map(_pinned, _installed(BOOSTING)) if trees else ()),
        *(map(_pinned, _installed(sorted(set(map(_asked_with, networks)))))),
    ]


def _parts(model: Estimator) -> Iterator[Estimator]:
    """A model and the estimators inside it."""
    yield model
    yield from (value for value in model.get_params(deep=True).values() if isinstance(value, Estimator))


def _asked_with(network: Estimator) -> str:
    """What a network answers with: its graph, or, without one or as a part of models around it, itself."""
    learns = "max_epochs" in network.get_params(deep=False)
    return "torch" if learns and "graph_" not in network._learned_to_save() else "onnxruntime"


def _pinned(package: str) -> str:
    return f"{package}=={version(package).partition('+')[0]}"


def _installed(packages: Sequence[str]) -> Iterator[str]:
    for package in packages:
        try:
            version(package)
        except PackageNotFoundError:
            continue
        yield package
