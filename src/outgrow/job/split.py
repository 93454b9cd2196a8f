"""The rows that a job learns from, and those that it is tested on."""

from __future__ import annotations

from outgrow.engine.dataset import Dataset
from outgrow.job.model import Job

DEFAULT_TEST_SHARE = 0.2


def split(rows: Dataset, job: Job) -> tuple[Dataset, Dataset]:
    """The rows to learn from and those to be tested on, as the job parts them.

    Parameters
    ----------
    rows : all rows of the job, still with the columns that part them.
    job : its `split` says how; by default a random fifth is for testing. Columns of `data.drop` are gone
        afterwards.
    """
    spec = job.split
    if spec.time is not None:
        parts = rows.split(time=spec.time, at=spec.at)
    else:
        parts = rows.split(DEFAULT_TEST_SHARE if spec.test is None else spec.test, seed=spec.seed, by=spec.by)
    gone = [name for name in job.data.drop if name in parting(job)]
    train, test = (part.drop(*gone) for part in parts)
    return train, test


def parting(job: Job) -> tuple[str, ...]:
    """The columns by which the job parts its rows."""
    return (job.split.time,) if job.split.time is not None else tuple(job.split.by or ())


def without(rows: Dataset, names: tuple[str, ...], job: Job) -> Dataset:
    """The rows without columns that only say where a row belongs, unless the job needs them otherwise.

    Parameters
    ----------
    rows : from which columns are dropped; those it does not have are passed over.
    names : the columns that only say where a row belongs.
    job : its target and weight stay.
    """
    needed = {job.target, job.weight}
    return rows.drop(*(name for name in rows.columns if name in names and name not in needed))


def hidden(job: Job) -> tuple[str, ...]:
    """The columns of the split that are no features."""
    return () if job.split.feature else parting(job)
