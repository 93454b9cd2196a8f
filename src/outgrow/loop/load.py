"""A policy file, read and checked as a whole before anything is done."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from outgrow.errors import JobFileError
from outgrow.job.document import fault, located, parse, read_text
from outgrow.loop.contradictions import contradictions
from outgrow.loop.policy import Policy


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
