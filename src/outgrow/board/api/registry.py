"""Versions of models, their aliases, who moved them, why and on which evidence; and rolling back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from outgrow.board.sources import Sources
from outgrow.errors import ParameterError
from outgrow.log.record import Record
from outgrow.registry.facts import MOVED, Facts, Move, VersionInfo

_MOST = 2_000
"""Moves and versions of a model that are shown, the latest ones."""
_LONGEST = 2_000
_SAID = ("verdict", "action", "because", "candidate", "champion", "version", "outcome", "verified")


def answer(sources: Sources, query: Mapping[str, str]) -> dict[str, Any]:
    """The models of the log and of the stores, and all of one of them.

    Parameters
    ----------
    sources : what is looked at.
    query : `model`, by default the one whose alias was moved last.

    Raises
    ------
    ParameterError
        When there is no such model.
    """
    position = sources.log.last()
    with sources.registered.now() as moves:
        models = [_listed(sources, name, known) for name, known in moves.facts.items()]
        models.sort(key=lambda model: -(model["changed"] or 0))
        name = chosen(query, [model["name"] for model in models])
        known = moves.facts.get(name, Facts())
        return {
            "models": models,
            "model": name or None,
            "store": sources.registered.store(name) is not None,
            "aliases": _pointers(known),
            "moves": [_moved(move, moves.evidence) for move in known.moves[-_MOST:]],
            "versions": [_version(info, known) for info in list(known.versions.values())[-_MOST:]],
            "position": position,
        }


def rollback(sources: Sources, body: Mapping[str, Any], by: str) -> dict[str, Any]:
    """Let an alias point to an earlier version again.

    Parameters
    ----------
    sources : whose stores are looked at.
    body : `model`, `alias` ('champion'), `to` (a version or a time; the version before by default), `why`,
        and `expected`, the version that the alias points to as far as its reader knows.
    by : who does it.

    Returns
    -------
    dict with the 'version' it points to, and the 'record' of the log that says so.

    Raises
    ------
    ParameterError
        When the board knows no store of the model, nobody says why, or somebody moved the alias meanwhile.
    """
    name, alias = str(body.get("model") or ""), str(body.get("alias") or "champion")
    store = sources.registered.store(name)
    if store is None:
        raise ParameterError(
            f"The board does not know where the versions of {name[:100]!r} lie. Start it with "
            "--store FOLDER to move its aliases here."
        )
    why, who = str(body.get("why") or "").strip(), by.strip()
    if not why or not who or len(why) + len(who) > _LONGEST:
        raise ParameterError(f"Say why and who, in at most {_LONGEST:,} letters: it stands in the log.")
    to, expected = body.get("to"), body.get("expected")
    target = int(to) if isinstance(to, str) and to.isdecimal() else to
    if not (target is None or isinstance(target, int | str)) or isinstance(target, bool):
        raise ParameterError(f"to={str(target)[:100]!r} is neither a version nor a time.")
    if not (expected is None or isinstance(expected, int)) or isinstance(expected, bool):
        raise ParameterError(f"expected={str(expected)[:100]!r} is no version.")
    before = store.aliases.get(alias)
    version = store.rollback(alias, to=target, why=why, by=who, expected=expected)
    (record,) = store.log.latest(1, kinds=(MOVED,), subject=store.name)
    return {"model": name, "alias": alias, "before": before, "version": version, "record": _recorded(record)}


def chosen(query: Mapping[str, str], names: list[str], what: str = "model") -> str:
    """The model that is asked for, by default the first; empty where there is none.

    Parameters
    ----------
    query : what was asked.
    names : of the models there are.
    what : the word of the query, where it is no model that is asked for.

    Raises
    ------
    ParameterError
        When there is no such one.
    """
    name = query.get(what) or (names[0] if names else "")
    if name and name not in names:
        raise ParameterError(
            f"There is no {what} {name[:100]!r} here; there is {', '.join(names) or 'none'}."
        )
    return name


def _listed(sources: Sources, name: str, facts: Facts) -> dict[str, Any]:
    times = [move.time.timestamp() for move in facts.moves[-1:]]
    times += [info.time.timestamp() for info in facts.versions.values() if info.time is not None][-1:]
    return {
        "name": name,
        "versions": len(facts.versions),
        "moves": len(facts.moves),
        "aliases": _pointers(facts),
        "changed": max(times, default=None),
        "store": sources.registered.store(name) is not None,
    }


def _pointers(facts: Facts) -> dict[str, Any]:
    return {
        alias: {"version": int(pointer.version), "percent": pointer.percent}
        for alias, pointer in sorted(facts.aliases.items())
    }


def _moved(move: Move, evidence: Mapping[str, Record]) -> dict[str, Any]:
    record = evidence.get(move.evidence or "")
    return {
        **{name: getattr(move, name) for name in ("position", "alias", "before", "version", "percent")},
        **{name: getattr(move, name) for name in ("by", "why", "run", "data", "evidence")},
        "time": move.time.timestamp(),
        "record": None if record is None else _recorded(record),
    }


def _recorded(record: Record) -> dict[str, Any]:
    facts = {name: record.body[name] for name in _SAID if name in record.body}
    checks = [
        {key: check.get(key) for key in ("name", "verdict", "because")}
        for check in record.body.get("checks", ())
        if isinstance(check, Mapping)
    ]
    return {
        **{name: getattr(record, name) for name in ("position", "kind", "time", "by", "digest")},
        **facts,
        **({"checks": checks} if checks else {}),
    }


def _version(info: VersionInfo, facts: Facts) -> dict[str, Any]:
    aliases = [
        alias for alias, pointer in sorted(facts.aliases.items()) if pointer.version == str(info.number)
    ]
    return {
        "version": info.number,
        "time": None if info.time is None else info.time.timestamp(),
        "aliases": aliases,
        **{name: getattr(info, name) for name in ("by", "why", "run", "data", "digest", "description")},
        "metrics": dict(info.metrics),
        "tags": dict(info.tags),
    }
