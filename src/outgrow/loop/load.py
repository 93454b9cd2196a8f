"""A policy file, read and checked as a whole before anything is done."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from outgrow.errors import ArtifactError, JobFileError, OutgrowError, ParameterError
from outgrow.inspection.row_losses import check_metric
from outgrow.job.document import fault, located, parse, read_text
from outgrow.loop.contradictions import contradictions
from outgrow.loop.policy import Policy
from outgrow.ml.predictor import Predictor
from outgrow.registry.store import ModelStore


@dataclass(frozen=True)
class LoadedPolicy:
    """A policy that was checked, and where it was read."""

    policy: Policy
    folder: Path

    def beside(self, path: str) -> str:
        """A path that the file names, as seen from here."""
        if path.startswith("sqlite:///") and not path.startswith("sqlite:////"):
            return "sqlite:///" + os.path.join(self.folder, path.removeprefix("sqlite:///"))
        return path if "://" in path else os.path.join(self.folder, path)


def load_policy(path: str | os.PathLike[str]) -> LoadedPolicy:
    """Read a policy.

    Parameters
    ----------
    path : the file.

    Raises
    ------
    InputNotFoundError
        When there is no such file.
    JobFileError
        When it is not valid, or contradicts itself: all faults, with the key and the line of each.
    """
    text = read_text(Path(path), "policy")
    document, lines = parse(text, str(path), "policy", Policy.model_fields)
    try:
        policy = Policy.model_validate(document)
    except ValidationError as error:
        faults = [fault(detail["loc"], detail, "policy") for detail in error.errors()]
    else:
        faults = list(contradictions(policy))
        if not faults:
            return LoadedPolicy(policy, Path(path).parent)
    messages = [located(key_path, text, lines) for key_path, text in faults]
    raise JobFileError(f"{path} is not a valid policy, and nothing was done:\n  " + "\n  ".join(messages))


def check_followed(loaded: LoadedPolicy, store: ModelStore) -> None:
    """Refuse a policy that fits neither its job nor its champion, before anything is trained in vain.

    Parameters
    ----------
    loaded : the policy.
    store : the versions of its model.

    Raises
    ------
    JobFileError
        With all that does not fit.
    """
    faults = [*_of_job(loaded), *_of_champion(loaded.policy, store)]
    if faults:
        shown = "\n  ".join(faults)
        raise JobFileError(
            f"The policy in {loaded.folder} cannot be followed, and nothing was done:\n  {shown}"
        )


def _of_job(loaded: LoadedPolicy) -> Iterator[str]:
    if loaded.policy.retrain is None:
        return
    try:
        read_text(Path(loaded.beside(loaded.policy.retrain.job)), "job")
    except OutgrowError as error:
        yield f"retrain.job: {error}"


def _of_champion(policy: Policy, store: ModelStore) -> Iterator[str]:
    metrics = {}
    if policy.gate is not None:
        metrics["gate.better.metric"] = policy.gate.better.metric
    if policy.watch.quality is not None:
        metrics["watch.quality.error"] = policy.watch.quality.error
    try:
        version = store.current
        champion = None if version is None or not metrics else Predictor(store.load())
    except ArtifactError:
        return  # a look says so
    for name, metric in metrics.items():
        if champion is not None:
            try:
                check_metric(champion, metric, version)
            except ParameterError as error:
                yield f"{name}: {error}"
