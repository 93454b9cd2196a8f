"""Which versions of a store are tried beside its champion: the aliases `canary` and `shadow`."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

from outgrow import pointers
from outgrow.errors import ArtifactError
from outgrow.pointers import CANARY, SHADOW
from outgrow.registry.store import ModelStore


@dataclass(frozen=True)
class Rollout:
    """What is tried beside the champion.

    Attributes
    ----------
    canary : the version that answers a share of the requests; None for none.
    share : of the requests, from 0 to 1.
    shadow : the version that predicts as well and never answers; None for none.
    """

    canary: int | None = None
    share: float = 0.0
    shadow: int | None = None

    @property
    def versions(self) -> dict[str, int]:
        """The versions by their roles."""
        roles = {CANARY: self.canary, SHADOW: self.shadow}
        return {role: version for role, version in roles.items() if version is not None}


def read_rollout(store: str | os.PathLike[str]) -> Rollout:
    """What is tried in a store; nothing where it does not say.

    Raises
    ------
    ArtifactError
        When its aliases are damaged.
    """
    folder, _ = pointers.divided(store)
    known = pointers.read(folder)
    aliases = {} if known is None else known.aliases
    canary, shadow = aliases.get(CANARY), aliases.get(SHADOW)
    try:
        return Rollout(
            None if canary is None else int(canary.version),
            0.0 if canary is None else (canary.percent or 0.0) / 100,
            None if shadow is None else int(shadow.version),
        )
    except ValueError as error:
        raise ArtifactError(f"{folder} tries what is no version ({error}). Set the alias anew.") from error


def write_rollout(store: ModelStore, rollout: Rollout, **notes: Any) -> None:
    """Say what is tried from now on; what is so already stays.

    Parameters
    ----------
    store : of the versions.
    rollout : what is tried.
    **notes : why and by, as of `ModelStore.set_alias`.
    """
    for alias, version in ((SHADOW, rollout.shadow), (CANARY, rollout.canary)):
        if version is None:
            if alias in store.aliases:
                store.delete_alias(alias, **notes)
        else:
            percent = 100 * rollout.share if alias == CANARY else None
            store.set_alias(alias, version, percent=percent, **notes)
