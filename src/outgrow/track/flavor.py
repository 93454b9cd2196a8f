"""An MLflow flavor: outgrow's own artifact in MLflow's folder, with a signature from the model's columns.

MLflow finds `save_model` and `_load_pyfunc` here by name. The rest of MLflow (tracking, registry, pyfunc,
Spark UDFs, `mlflow models serve`) then works as for its own flavors.
"""

from __future__ import annotations

import os
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import Any

from outgrow._optional import optional
from outgrow.engine.open import dataset, is_table
from outgrow.errors import ParameterError
from outgrow.ml.core.estimator import Estimator
from outgrow.ml.persistence import load
from outgrow.registry.mlflow_alias import FLAVOR, artifact_in
from outgrow.track.requirements import requirements_of
from outgrow.track.scorer import Scorer
from outgrow.track.signature import signature_of


def save_model(
    model: Estimator,
    path: str | os.PathLike[str],
    *,
    input_example: Any = None,
    signature: Any = None,
    pip_requirements: list[str] | str | None = None,
    metadata: dict[str, Any] | None = None,
    mlflow_model: Any = None,
) -> None:
    """Write a fitted estimator as a folder that MLflow can load, score and serve.

    Parameters
    ----------
    model : a fitted estimator or pipeline.
    path : the folder to make; it must not exist, or be empty.
    input_example : some rows, in anything that has named columns; kept beside the model as an example.
    signature : an `mlflow.models.ModelSignature`; by default that of the columns the model was fitted on.
    pip_requirements : what an environment for the model needs; by default outgrow, with the extra `trees` if
        the model has trees, and the libraries that compute predictions, in the versions that are here.
    metadata : further entries of the file MLmodel.
    mlflow_model : the `mlflow.models.Model` to complete; MLflow gives it when it logs.

    Raises
    ------
    MissingExtraError
        When MLflow is not installed.
    ParameterError
        When the model is not an estimator of outgrow.

    Examples
    --------
    >>> import tempfile, mlflow, numpy as np, outgrow as og
    >>> model = og.LinearRegression().fit(np.array([[1.0], [2.0], [3.0]]), np.array([2.0, 4.0, 6.0]))
    >>> path = tempfile.mkdtemp() + "/double"
    >>> og.track.save_model(model, path)
    >>> mlflow.pyfunc.load_model(path).predict({"x0": [10.0]}).round(6).tolist()
    [20.0]
    """
    _check_ours(model)
    pyfunc, models = optional("mlflow.pyfunc", "track"), optional("mlflow.models", "track")
    document = models.Model() if mlflow_model is None else mlflow_model
    document.signature = signature_of(model) if signature is None else signature
    # what the signature cannot say without refusing rows that the model takes
    columns = {name: str(kind) for name, kind in model.columns_.items()}
    document.add_flavor(FLAVOR, outgrow_version=version("outgrow"), data="data/model", columns=columns)
    with tempfile.TemporaryDirectory() as folder:
        draft = Path(folder) / "model"
        model.save(draft)
        pyfunc.save_model(
            path=os.fspath(path),
            loader_module=__name__,
            data_path=str(draft),
            mlflow_model=document,
            input_example=_example(model, input_example),
            pip_requirements=requirements_of(model) if pip_requirements is None else pip_requirements,
            metadata=metadata,
        )


def log_model(
    model: Estimator,
    name: str,
    *,
    registered_model_name: str | None = None,
    input_example: Any = None,
    signature: Any = None,
    pip_requirements: list[str] | str | None = None,
    **options: Any,
) -> Any:
    """Log a fitted estimator to the tracking server that MLflow is set to.

    Parameters
    ----------
    model : a fitted estimator or pipeline.
    name : what the model is called there.
    registered_model_name : register it as a new version under this name.
    input_example, signature, pip_requirements : as for `save_model`.
    **options : further arguments of `mlflow.models.Model.log`, such as `run_id`, `params`, `tags`, `step`.

    Returns
    -------
    mlflow.models.model.ModelInfo
        Its `model_uri` is what `load_model` takes.

    Raises
    ------
    MissingExtraError
        When MLflow is not installed.
    ParameterError
        When the model is not an estimator of outgrow.

    Examples
    --------
    >>> import numpy as np, outgrow as og
    >>> model = og.LinearRegression().fit(np.array([[1.0], [2.0], [3.0]]), np.array([2.0, 4.0, 6.0]))
    >>> info = og.track.log_model(model, name="double")  # doctest: +SKIP
    >>> og.track.load_model(info.model_uri).predict(np.array([[10.0]]))  # doctest: +SKIP
    array([20.])
    """
    _check_ours(model)
    return optional("mlflow.models", "track").Model.log(
        artifact_path=None,
        name=name,
        flavor=sys.modules[__name__],
        model=model,
        registered_model_name=registered_model_name,
        input_example=input_example,
        signature=signature,
        pip_requirements=pip_requirements,
        **options,
    )


def load_model(model_uri: str | os.PathLike[str]) -> Any:
    """The estimator that was logged or saved.

    Parameters
    ----------
    model_uri : what MLflow takes: a folder, `models:/<name>/<version>`, `runs:/<run>/<name>`, ...

    Raises
    ------
    ArtifactError
        When there is a model of another flavor, or outgrow's is damaged.
    MissingExtraError
        When MLflow is not installed.

    Examples
    --------
    >>> import tempfile, numpy as np, outgrow as og
    >>> model = og.LinearRegression().fit(np.array([[1.0], [2.0], [3.0]]), np.array([2.0, 4.0, 6.0]))
    >>> path = tempfile.mkdtemp() + "/double"
    >>> og.track.save_model(model, path)
    >>> og.track.load_model(path)
    LinearRegression()
    """
    folder = optional("mlflow.artifacts", "track").download_artifacts(artifact_uri=os.fspath(model_uri))
    return load(artifact_in(folder, os.fspath(model_uri)))


def _load_pyfunc(path: str) -> Scorer:
    """What MLflow calls to score; `path` is outgrow's own folder."""
    return Scorer(load(path))


def _check_ours(model: Any) -> None:
    if not isinstance(model, Estimator):
        raise ParameterError(
            f"An estimator of outgrow is needed, not a {type(model).__name__}. "
            "Log others with the flavor of their own library."
        )


def _example(model: Estimator, rows: Any) -> Any:
    """Rows as MLflow keeps them: pandas, with the columns of the model alone."""
    return dataset(rows).select(*model.columns_).to_pandas() if is_table(rows) else rows
