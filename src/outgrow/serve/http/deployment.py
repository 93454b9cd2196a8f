"""A model under a name: which version answers, which are tried beside it, and how a new one takes over."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from typing import Any

from outgrow.data.batch import Batch
from outgrow.errors import OutgrowError
from outgrow.ml.core.task import promised_example
from outgrow.registry.rollout import Rollout, RolloutFollower
from outgrow.registry.store import Follower, Version
from outgrow.serve.http.batcher import Batcher
from outgrow.serve.http.refusal import shortened
from outgrow.serve.http.rows import Row
from outgrow.serve.http.scoring import Answers, LoadedVersion

log = logging.getLogger("outgrow.serve")
PRIMARY, CANARY, SHADOW = "primary", "canary", "shadow"


@dataclass(frozen=True)
class Model:
    """What is served under a name.

    Attributes
    ----------
    path : of an artifact or a `ModelStore`.
    canary : another one, which answers `canary_percent` of the requests.
    shadow : another one, which predicts as well but never answers.
    """

    path: str
    canary: str | None = None
    canary_percent: float = 0.0
    shadow: str | None = None


class Variant:
    """One path that is followed, and the batches of its model.

    Attributes
    ----------
    problem : why the newest version is not the one that answers; None when it is.
    """

    problem: str | None = None

    def __init__(self, path: str, batcher: Batcher, name: str | None = None) -> None:
        """Load the model.

        Parameters
        ----------
        path : of an artifact or a `ModelStore`.
        batcher : puts its rows together.
        name : what the version is called; its own name unless given.
        """
        self.batcher = batcher
        self._follower = Follower(path)
        version = self._follower.look()
        assert version is not None
        self.served = LoadedVersion.of(version if name is None else Version(name, version.predictor))
        warm_up(self.served)

    def refresh(self) -> bool:
        """Take another version up if there is one; warm, so that the first request does not wait."""
        try:
            version = self._follower.look()
            if version is not None:
                served = LoadedVersion.of(version)
                warm_up(served)
                self.served = served
        except Exception as error:  # whatever it is, the version that answers goes on, and so does the watch
            self.problem = f"{type(error).__name__}: {shortened(str(error))}"
            raise
        if version is not None or self._follower.settled:
            self.problem = None
        return version is not None


@dataclass
class Deployment:
    """A model under a name, with its canary and its shadow."""

    name: str
    model: Model
    variants: dict[str, Variant] = field(default_factory=dict)
    batcher: Callable[[], Batcher] | None = None
    canary_percent: float = 0.0
    rollout_problem: str | None = None

    def __post_init__(self) -> None:
        self.canary_percent = self.model.canary_percent
        self._rollouts = RolloutFollower(self.model.path)

    @classmethod
    def open(cls, name: str, model: Model, batcher: Callable[[], Batcher]) -> Deployment:
        """Load all versions; see `Follower` for what is raised.

        Parameters
        ----------
        name : under which the model is served.
        model : the paths of its variants.
        batcher : makes a batcher, one for each variant.
        """
        paths = {PRIMARY: model.path, CANARY: model.canary, SHADOW: model.shadow}
        variants = {role: Variant(path, batcher()) for role, path in paths.items() if path is not None}
        opened = cls(name, model, variants, batcher)
        try:
            opened.follow_rollout()
        except Exception:  # what answers does; what is tried beside it is looked for again
            log.warning("model %s: nothing is tried beside it: %s", name, opened.rollout_problem)
        return opened

    def follow_rollout(self) -> None:
        """Take up the canary and the shadow that the store names, unless the server was started with its own.

        Raises
        ------
        OutgrowError
            When one of them cannot be loaded; what answers goes on as it is.
        """
        try:
            rollout = self._rollouts.look()
            if rollout is not None:
                self._take_up(rollout)
        except Exception as error:
            self._rollouts.forget()
            self.rollout_problem = f"{type(error).__name__}: {shortened(str(error))}"
            raise
        self.rollout_problem = None

    def _take_up(self, rollout: Rollout) -> None:
        assert self.batcher is not None
        variants = dict(self.variants)
        for role, given in ((CANARY, self.model.canary), (SHADOW, self.model.shadow)):
            if given is not None:
                continue
            version = rollout.versions.get(role)
            if version is None:
                variants.pop(role, None)
            elif role not in variants or variants[role].served.version.name != str(version):
                path = str(self._rollouts.path / str(version))
                variants[role] = Variant(path, self.batcher(), str(version))
        share = self.model.canary_percent if self.model.canary is not None else 100 * rollout.share
        self.variants, self.canary_percent = (
            variants,
            share,
        )  # a new mapping: requests under way keep the other

    @property
    def served(self) -> LoadedVersion:
        """The version that answers."""
        return self.variants[PRIMARY].served

    @property
    def waiting(self) -> int:
        """How many rows wait."""
        return sum(variant.batcher.waiting for variant in self.variants.values())

    def role(self) -> str:
        """Who answers the next request."""
        chosen = CANARY in self.variants and random.random() * 100 < self.canary_percent
        return CANARY if chosen else PRIMARY

    @property
    def versions(self) -> set[str]:
        """The versions that answer."""
        return {variant.served.version.name for role, variant in self.variants.items() if role != SHADOW}

    @property
    def problems(self) -> dict[str, str]:
        """Why a role has not the newest version, for those that have not."""
        problems = {
            role: variant.problem for role, variant in self.variants.items() if variant.problem is not None
        }
        return problems if self.rollout_problem is None else {**problems, "rollout": self.rollout_problem}

    def stuck(self, seconds: float) -> bool:
        """Whether a batch of those who answer has been under way for longer than any request may take."""
        answering = (variant for role, variant in self.variants.items() if role != SHADOW)
        return any(variant.batcher.busy_for > seconds for variant in answering)

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
        variant = self.variants.get(
            role, self.variants[PRIMARY]
        )  # a canary may have gone since it was chosen
        return variant.batcher.answer(served, rows)

    async def refresh(self) -> tuple[list[str], list[str]]:
        """Look for new versions; the roles that have one, and those whose newest one cannot be used."""
        changed, failed = [], []
        before, known = self.variants, self.rollout_problem
        try:
            await asyncio.to_thread(self.follow_rollout)
        except Exception:
            if self.rollout_problem != known:
                log.warning("model %s: what is tried stays as it is: %s", self.name, self.rollout_problem)
            failed.append("rollout")
        changed += [
            role for role in {*before, *self.variants} if before.get(role) is not self.variants.get(role)
        ]
        for role, variant in self.variants.items():
            try:
                if await asyncio.to_thread(variant.refresh):
                    changed.append(role)
            except Exception:
                log.warning("model %s (%s) stays as it is: %s", self.name, role, variant.problem)
                failed.append(role)
        return changed, failed


def warm_up(served: LoadedVersion) -> None:
    """Answer one made-up row, so that what is made at the first use is there."""
    predictor = served.version.predictor
    row = tuple(kind.form.neutral for kind in predictor.columns.values())
    predictor.scores(promised_example(predictor.columns), probabilities=predictor.classes is not None)
    try:
        predictor.scores(served.reader.batch([row]), probabilities=predictor.classes is not None)
    except OutgrowError:
        return  # such a row may be refused; what could be warmed is warm
