"""A model under a name: which version answers, which are tried beside it, and how a new one takes over."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from outgrow.data.batch import Batch
from outgrow.errors import OutgrowError
from outgrow.ml.core.task import promised_example
from outgrow.pointers import CANARY as CANARY
from outgrow.pointers import SHADOW as SHADOW
from outgrow.pointers import Pointer, divided
from outgrow.registry.follower import Follower
from outgrow.registry.state import StoreState
from outgrow.serve.http.batcher import Batcher
from outgrow.serve.http.refusal import shortened
from outgrow.serve.http.rows import Row
from outgrow.serve.http.scoring import Answers, FeatureSource, LoadedVersion

log = logging.getLogger("outgrow.serve")
PRIMARY = "primary"


@dataclass(frozen=True)
class Model:
    """What is served under a name.

    Attributes
    ----------
    path : of an artifact or a `ModelStore`; of a store, its aliases `canary` and `shadow` are followed, too.
    canary : another one, which answers `canary_percent` of the requests.
    shadow : another one, which predicts as well but never answers.
    public_key : the file with the key that all of them must be signed with; None for no such need.
    """

    path: str
    canary: str | None = None
    canary_percent: float = 0.0
    shadow: str | None = None
    public_key: str | None = None


class Variant:
    """One path that is followed, and the version of it that is loaded.

    Attributes
    ----------
    problem : why the newest version is not the one that answers; None when it is.
    """

    problem: str | None = None

    def __init__(
        self, path: str, features: FeatureSource | None = None, public_key: str | None = None
    ) -> None:
        self._features = features
        self._follower = Follower(path, public_key=public_key)
        version = self._follower.look()
        assert version is not None
        self.served = LoadedVersion.of(version, features)
        warm_up(self.served)

    def refresh(self) -> bool:
        """Take another version up if there is one; warm, so that the first request does not wait."""
        try:
            version = self._follower.look()
            if version is not None:
                served = LoadedVersion.of(version, self._features)
                warm_up(served)
                self.served = served
        except Exception as error:  # whatever it is, the version that answers goes on, and so does the watch
            self.problem = reason(error)
            raise
        if version is not None or self._follower.settled:
            self.problem = None
        return version is not None


class Deployment:
    """A model under a name, with its canary and its shadow.

    Attributes
    ----------
    name : under which it is served.
    model : the paths.
    variants : by role. The mapping is replaced as a whole, so a request keeps the one it began with.
    canary_percent : the share of the requests that the canary answers now.
    """

    def __init__(self, name: str, model: Model, batcher: Callable[[], Batcher]) -> None:
        self.name = name
        self.model = model
        self.variants: Mapping[str, Variant] = {}
        self.canary_percent = model.canary_percent
        self._batchers = {role: batcher() for role in (PRIMARY, CANARY, SHADOW)}
        """They stay when a variant goes, for the requests that have begun."""
        self._features = self._batchers[PRIMARY].features
        self._tried = StoreState(Path(model.path))
        self._not_tried: dict[str, str] = {}
        """Why a role is not filled as the store's alias says."""

    @classmethod
    def open(cls, name: str, model: Model, batcher: Callable[[], Batcher]) -> Deployment:
        """Load all versions; see `Follower` for what is raised.

        Parameters
        ----------
        name : under which the model is served.
        model : the paths of its variants.
        batcher : makes a batcher, one for each role.
        """
        deployment = cls(name, model, batcher)
        paths = {PRIMARY: model.path, CANARY: model.canary, SHADOW: model.shadow}
        features = deployment._features
        deployment.variants = {
            role: Variant(path, features, model.public_key)
            for role, path in paths.items()
            if path is not None
        }
        for role in deployment._follow_aliases()[1]:  # what answers does; it is looked for again
            log.warning("model %s has no %s: %s", name, role, deployment.problems[role])
        return deployment

    @property
    def served(self) -> LoadedVersion:
        """The version that answers."""
        return self.variants[PRIMARY].served

    @property
    def waiting(self) -> int:
        """How many rows wait."""
        return sum(batcher.waiting for batcher in self._batchers.values())

    def choose(self) -> tuple[str, LoadedVersion]:
        """Who answers the next request: the role, and its version at this moment."""
        variants = self.variants
        chosen = CANARY in variants and random.random() * 100 < self.canary_percent
        role = CANARY if chosen else PRIMARY
        return role, variants[role].served

    @property
    def versions(self) -> set[str]:
        """The versions that answer."""
        return {variant.served.version.name for role, variant in self.variants.items() if role != SHADOW}

    @property
    def problems(self) -> dict[str, str]:
        """Why a role has not the newest version, for those that have not."""
        problems = {role: variant.problem for role, variant in self.variants.items() if variant.problem}
        return {**self._not_tried, **problems}

    def stuck(self, seconds: float) -> bool:
        """Whether a batch of those who answer has been under way for longer than any request may take."""
        return any(self._batchers[role].busy_for > seconds for role in (PRIMARY, CANARY))

    def answer(
        self, role: str, served: LoadedVersion, rows: Sequence[Row] | Batch
    ) -> Coroutine[Any, Any, Answers]:
        """The answers of a role for some rows.

        Parameters
        ----------
        role : `PRIMARY`, `CANARY` or `SHADOW`.
        served : the version for which the rows were read; it answers, even if another was taken up since.
        rows : as the reader of that version read them.
        """
        return self._batchers[role].answer(served, rows)

    async def refresh(self) -> tuple[list[str], list[str]]:
        """Look for new versions; the roles that changed, and those whose newest version cannot be used."""
        changed, failed = await asyncio.to_thread(self._refresh)
        for role in failed:
            log.warning("model %s (%s) stays as it is: %s", self.name, role, self.problems.get(role))
        return changed, failed

    def _refresh(self) -> tuple[list[str], list[str]]:
        changed, failed = self._follow_aliases()
        for role, variant in self.variants.items():
            if role not in changed:
                self._note(role, variant, changed, failed)
        return changed, failed

    def _note(self, role: str, variant: Variant, changed: list[str], failed: list[str]) -> None:
        try:
            if variant.refresh():
                changed.append(role)
        except Exception:  # the variant has noted it
            failed.append(role)

    def _follow_aliases(self) -> tuple[list[str], list[str]]:
        """Fill the roles of canary and shadow as the aliases of the store say, where no path was given."""
        changed: list[str] = []
        failed: list[str] = []
        wanted = self._aliases()
        for role, given in ((CANARY, self.model.canary), (SHADOW, self.model.shadow)):
            if given is not None or wanted is None:
                continue
            if role in wanted:
                self._fill(role, changed, failed)
            elif role in self.variants:
                self.variants = {other: variant for other, variant in self.variants.items() if other != role}
                changed.append(role)
            if role not in wanted:
                self._not_tried.pop(role, None)
            if role == CANARY and role not in failed:
                self.canary_percent = (wanted[role].percent or 0.0) if role in wanted else 0.0
        return changed, failed

    def _fill(self, role: str, changed: list[str], failed: list[str]) -> None:
        if role in self.variants:
            self._note(role, self.variants[role], changed, failed)
            return
        try:
            variant = Variant(f"{self.model.path}@{role}", self._features, self.model.public_key)
        except Exception as error:
            if self._not_tried.get(role) != (problem := reason(error)):
                self._not_tried[role] = problem
                failed.append(role)
            return
        self._not_tried.pop(role, None)
        self.variants = {**self.variants, role: variant}
        changed.append(role)

    def _aliases(self) -> Mapping[str, Pointer] | None:
        """The aliases of the store that is served; None where it is none, or only one alias of it is."""
        if divided(self.model.path)[1] is not None:
            return None
        with suppress(OutgrowError, OSError):  # what is wrong, the one who follows the champion says
            known = self._tried.pointers()
            return None if known is None else known.aliases
        return None


def reason(error: Exception) -> str:
    """What went wrong, in a line."""
    return f"{type(error).__name__}: {shortened(str(error))}"


def warm_up(served: LoadedVersion) -> None:
    """Answer one made-up row, so that what is made at the first use is there."""
    predictor = served.version.predictor
    row = tuple(kind.form.neutral for kind in served.reader.columns.values())
    predictor.scores(promised_example(predictor.columns), probabilities=predictor.classes is not None)
    try:
        predictor.scores(
            served.whole(served.reader.batch([row])), probabilities=predictor.classes is not None
        )
    except OutgrowError:
        return  # such a row may be refused; what could be warmed is warm
