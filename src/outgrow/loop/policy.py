"""What a policy.yaml may say, and which of it contradicts itself."""

from __future__ import annotations

import json
from typing import Any, Literal, Self

from pydantic import ConfigDict, Field, model_validator

from outgrow.job.model import ReadSpec, Section
from outgrow.loop.spans import Often, Rate, Ratio, Share, Span

Metric = Literal["log_loss", "brier", "error_rate", "mse", "mae"]


class Part(Section):
    """A mapping of the policy; its numbers are finite, as nothing compares with what is none."""

    model_config = ConfigDict(allow_inf_nan=False)


class RowsSpec(Part):
    """Where new rows land: a folder that grows, such as the log of a server."""

    path: str
    """A file, folder or pattern, looked for beside the policy; or a URI."""
    time: str
    """The column that says when a row came: a time, a date, or seconds since 1970."""
    read: ReadSpec = Field(default_factory=ReadSpec)
    """How the files are read."""


class EffectSpec(Part):
    """How large a change of a column must be, besides being no accident."""

    psi: float | None = Field(default=None, gt=0)
    """Population stability index."""
    js: float | None = Field(default=None, gt=0, le=1)
    """Jensen-Shannon distance."""
    ks: float | None = Field(default=None, gt=0, le=1)
    """Largest distance of the distribution functions."""


class DataWatch(Part):
    """Rows against the reference that travels with the model."""

    window: Span
    """How much time is looked at as one."""
    reference: Literal["training"] = "training"
    """What windows are compared with."""
    seasonal: Span | None = None
    """A window is no drift that is like the one so long before."""
    fdr: float = Field(default=0.01, gt=0, lt=1)
    """The share of false findings among the columns that are said to drift."""
    effect: EffectSpec = Field(default_factory=lambda: EffectSpec(js=0.1))
    """How large a change counts."""
    share: Share = 0.0
    """More than this share of the columns must drift."""
    least_rows: int = Field(default=200, ge=2)
    """Of a window; fewer say nothing."""
    lasting: int = Field(default=1, ge=1, le=31)
    """So many windows in a row must drift; more than one for what may be over soon, as an outage is."""


class QualityWatch(Part):
    """Predictions against what came out."""

    labels: str
    """Where true values land: a file, folder or pattern, looked for beside the policy."""
    on: str
    """The column that says which label belongs to which row."""
    label: str
    """The column with the true value."""
    within: Span
    """How long after its row a label may come."""
    error: Metric = "brier"
    """What is watched of each prediction."""
    window: Span | None = None
    """How much time is looked at as one; as for `data` unless given, or else as long as `within`."""
    false_alarms: Rate = 1e-5
    """At most one in so many rows."""

    @model_validator(mode="before")
    @classmethod
    def _on(cls, given: Any) -> Any:
        """YAML 1.1 reads the key `on` as true."""
        if isinstance(given, dict) and True in given:
            return {("on" if key is True else key): value for key, value in given.items()}
        return given


class Watch(Part):
    """What is looked at, and starts a training when it is no longer as it was."""

    data: DataWatch | None = None
    """Rows against the training rows."""
    quality: QualityWatch | None = None
    """Predictions against labels."""
    age: Span | None = None
    """How old the champion may get."""


class RetrainRows(Part):
    """Which of the labelled rows a training sees."""

    last: Span
    """Those of so long before the training."""


class Budget(Part):
    """What a training may take."""

    time: Span
    """Longer ones are ended."""


class Retrain(Part):
    """How a candidate is learned."""

    job: str
    """The job file, looked for beside the policy; its steps, model, target and split are used."""
    rows: RetrainRows | None = None
    """Labelled rows that take the place of the job's own; without it the job's data are read again."""
    hold_out: Span | None = None
    """So much of the newest time is kept from the training, for the gate to judge at once."""
    at_most: Often
    """How often."""
    budget: Budget | None = None
    """What it may take."""


class Better(Part):
    """The candidate's loss below the champion's on the same rows."""

    metric: Metric
    """A mean over rows; smaller is better."""
    by: float = 0.0
    """How much smaller, surely; below 0, how much larger it may be."""
    confidence: float = Field(default=0.95, ge=0.5, lt=1)
    """How sure, however often the gate is looked at."""
    least_rows: int = Field(default=500, ge=2)
    """Labelled rows before the first look."""


class Slices(Part):
    """No part of the rows may become much worse."""

    by: list[str] = Field(min_length=1)
    """Columns; each value is a slice."""
    worse_by_at_most: float = Field(default=0.0, ge=0)
    """How much the loss of a slice may grow."""
    least_rows: int = Field(default=500, ge=2)
    """Slices of fewer rows are named, and not judged."""
    fdr: float = Field(default=0.05, gt=0, lt=1)
    """The share of false ones among the slices that are said to be worse."""


class Fair(Part):
    """Differences between groups of people, as fairlearn defines them."""

    by: str
    """The column of the groups."""
    positive: Any = None
    """The class that is wished for; the last one unless given."""
    demographic_parity_difference: float | None = Field(default=None, ge=0, le=1)
    """The largest there may be."""
    equalized_odds_difference: float | None = Field(default=None, ge=0, le=1)
    """The largest there may be."""
    least_rows: int = Field(default=100, ge=1)
    """Groups of fewer rows are named, and not compared."""


class Also(Part):
    """What else a candidate must hold."""

    baseline: bool = False
    """Better than the best constant answer."""
    latency_p99_ms: float | None = Field(default=None, gt=0)
    """Of one row."""
    size_mb: float | None = Field(default=None, gt=0)
    """Of the saved model."""
    model_schema: Literal["same"] | None = Field(default=None, alias="schema")
    """The champion's columns, kinds and classes."""


class Gate(Part):
    """What a candidate must show on rows newer than all that it and the champion learned from."""

    better: Better
    """The main question."""
    slices: Slices | None = None
    """Parts of the rows."""
    fair: Fair | None = None
    """Groups of people."""
    also: Also = Field(default_factory=Also)
    """Other limits."""
    within: Span | None = None
    """A candidate that cannot be judged for so long is given up."""


class Step(Part):
    """A step of the rollout: `{shadow: 1h, agree: 0.95}` or `{canary: 5%, for: 1h}`."""

    shadow: Span | None = None
    """The candidate predicts beside the champion for so long, and nobody sees it."""
    agree: Share | None = None
    """The least share of the rows on which the shadow says what the champion says."""
    canary: Share | None = None
    """The candidate answers this share of the requests."""
    lasting: Span | None = Field(default=None, alias="for")
    """How long."""

    @property
    def role(self) -> str:
        return "shadow" if self.shadow is not None else "canary"

    @property
    def seconds(self) -> float:
        return float(self.shadow or self.lasting or 0.0)

    @model_validator(mode="after")
    def _one(self) -> Self:
        if (self.shadow is None) == (self.canary is None):
            raise ValueError("a step is either {shadow: 1h} or {canary: 5%, for: 1h}")
        if self.canary is not None and self.lasting is None:
            raise ValueError("a canary needs for: how long it answers its share")
        if self.canary is not None and self.agree is not None:
            raise ValueError("agree belongs to a shadow: a canary's answers are given once")
        if self.shadow is not None and self.lasting is not None:
            raise ValueError("a shadow says how long itself: {shadow: 1h}")
        return self


class Rollback(Part):
    """What sends a canary or a new champion back."""

    errors: Share | None = None
    """More requests than this share fail."""
    latency_p99: Ratio | None = None
    """So many times the other version's."""
    quality: Literal["worse"] | None = None
    """Its loss is surely larger than the previous champion's on the same rows."""
    within: Span
    """How long a new champion is watched."""


class Servers(Part):
    """The servers that follow the model, to verify that they answer with the version they should."""

    urls: list[str] = Field(min_length=1)
    """Their addresses; `/metrics` is read."""
    name: str | None = None
    """Under which the model is served; the name of its folder unless given."""
    log: str | None = None
    """The folder of their log of predictions, for what a shadow says."""
    answer_within: Span = 15.0
    """How long they may take to follow."""

    @model_validator(mode="before")
    @classmethod
    def _plain(cls, given: Any) -> Any:
        return {"urls": given} if isinstance(given, list) else given


class AlertsSpec(Part):
    """Who is told of reports, proposals, promotions and rollbacks; `$NAME` is taken from the environment."""

    webhook: list[str] = Field(default_factory=list)
    """URLs that are posted to."""
    mail: list[str] = Field(default_factory=list)
    """Addresses."""
    smtp: str = "localhost:25"
    """The mail server, HOST or HOST:PORT."""


class Policy(Part):
    """A whole policy."""

    model: str
    """The store of the model's versions, looked for beside the policy."""
    log: str
    """The log of facts and decisions: `sqlite:///ops.db`, a folder, or a PostgreSQL URL."""
    maturity: Literal["crawl", "walk", "run", "fly"] = "crawl"
    """crawl reports; walk alerts and advises; run trains and judges, a person promotes; fly does all."""
    rows: RowsSpec | None = None
    """Where new rows land."""
    servers: Servers | None = None
    """Who serves the model."""
    alerts: AlertsSpec | None = Field(default=None, exclude=True)
    """Who is told; no part of what decides, and not in the log, as addresses of webhooks are secrets."""
    watch: Watch
    """What is looked at."""
    retrain: Retrain | None = None
    """How a candidate is learned."""
    gate: Gate | None = None
    """What it must show."""
    rollout: list[Step] = Field(default_factory=list)
    """How it takes over, step by step."""
    rollback: Rollback | None = None
    """What sends it back."""

    def body(self) -> dict[str, Any]:
        """The policy as the log keeps it; `Policy.model_validate` reads it."""
        dumped: dict[str, Any] = json.loads(self.model_dump_json(by_alias=True, exclude_none=True))
        return dumped
