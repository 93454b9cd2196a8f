"""A job as a project that `mlflow run` runs."""

from __future__ import annotations

import platform
from typing import Any

import yaml

from outgrow._version import __version__
from outgrow.job.load import LoadedJob
from outgrow.job.settings import dump_yaml
from outgrow.storage import RUN, new_directory

JOB, PROJECT, ENVIRONMENT = "job.yaml", "MLproject", "python_env.yaml"
_EXTRAS = "track,trees,sql,tune"


def export_mlproject(loaded: LoadedJob, output: str, *, overwrite: bool = False) -> list[str]:
    """Write a folder with MLproject, python_env.yaml and the job.

    The entry point `main` has a parameter for each parameter of the model that the job sets, and `sample`,
    `engine` and `output`. Its run logs to the run that `mlflow run` makes.

    Parameters
    ----------
    loaded : the job.
    output : the folder to make.
    overwrite : replace one that is there.

    Returns
    -------
    list of the names of the parameters.

    Raises
    ------
    OutputExistsError
        When the folder exists and `overwrite` is false.
    """
    job = loaded.job
    document = yaml.safe_load(loaded.text)
    document["track"] = {"mlflow": True, "tags": dict(job.track.tags) if job.track else {}}
    parameters: dict[str, Any] = {
        name: value
        for name, value in job.model.parameters.items()
        if isinstance(value, int | float | str) and name.isidentifier()
    }
    settings = [f"--set model.{name}={{{name}}}" for name in parameters]
    further = {"sample": job.sample, "engine": "local", "output": job.output}
    free = {name: value for name, value in further.items() if name not in parameters}
    settings += [f"--set {name}={{{name}}}" for name in ("sample", "output") if name in free]
    engine = " --engine {engine}" if "engine" in free else ""
    command = f"python -m outgrow run {JOB} --overwrite{engine} {' '.join(settings)}"
    listed = {**parameters, **free}
    project = {
        "name": job.name,
        "python_env": ENVIRONMENT,
        "entry_points": {
            "main": {
                "parameters": {name: _parameter(value) for name, value in listed.items()},
                "command": command,
            }
        },
    }
    environment = {
        "python": platform.python_version(),
        "dependencies": [f"outgrow[{_EXTRAS}]=={__version__}"],
    }
    with new_directory(output, RUN, overwrite=overwrite) as folder:
        (folder / JOB).write_text(dump_yaml(document))
        (folder / PROJECT).write_text(yaml.safe_dump(project, sort_keys=False, width=1_000))
        (folder / ENVIRONMENT).write_text(yaml.safe_dump(environment, sort_keys=False))
    return list(listed)


def _parameter(value: Any) -> dict[str, Any]:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return {"type": "float" if number else "string", "default": value if number else str(value)}
