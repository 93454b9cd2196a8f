"""Definitions in a YAML file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from outgrow.data.yaml_files import YamlLoader
from outgrow.errors import InputNotFoundError, ParameterError
from outgrow.features.aggregation import Aggregation
from outgrow.features.definitions import Entity, FeatureService, FeatureView, OnDemandView, Source

_SECTIONS = ("entities", "views", "on_demand", "services")
Definition = FeatureView | OnDemandView | FeatureService


def read_definitions(path: str) -> list[Definition]:
    """The views and services of a file, for `FeatureStore.apply`.

    It has sections `entities` (name to keys), `views` (name to entities, source, ttl), `on_demand` and
    `services` (name to features); paths in it are relative to its folder.

    Raises
    ------
    InputNotFoundError
        When there is no such file.
    ParameterError
        When it holds something else; the message names where.
    """
    try:
        given = yaml.load(Path(path).read_text(encoding="utf-8"), YamlLoader)
    except FileNotFoundError:
        raise InputNotFoundError(f"There is no file {path!r}. Check the path.") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ParameterError(f"{path} is no YAML: {error}") from None
    if not isinstance(given, Mapping) or not set(given) <= set(_SECTIONS):
        raise ParameterError(f"{path}: a mapping with {', '.join(_SECTIONS)} is needed.")
    for section in _SECTIONS:
        if not isinstance(given.get(section) or {}, Mapping):
            raise ParameterError(f"{path}: {section} maps names to what they mean.")
    entities = {name: Entity(name, keys or ()) for name, keys in (given.get("entities") or {}).items()}
    folder = Path(path).parent
    made: list[Definition] = []
    for name, view in (given.get("views") or {}).items():
        made.append(_made(path, f"views.{name}", lambda n=name, v=view: _view(n, v, entities, folder)))
    for name, view in (given.get("on_demand") or {}).items():
        made.append(_made(path, f"on_demand.{name}", lambda n=name, v=view: OnDemandView(n, **v)))
    for name, features in (given.get("services") or {}).items():
        made.append(_made(path, f"services.{name}", lambda n=name, f=features: FeatureService(n, f)))
    return made


def _made(path: str, where: str, make: Any) -> Any:
    try:
        return make()
    except (TypeError, KeyError, AttributeError) as error:
        reason = str(error).replace("__init__() ", "")
        raise ParameterError(f"{path}, {where}: {reason}. See docs/features.md.") from None


def _view(name: str, given: Mapping[str, Any], entities: Mapping[str, Entity], folder: Path) -> FeatureView:
    unknown = [entity for entity in given["entities"] if entity not in entities]
    if unknown:
        raise ParameterError(f"View {name!r}: there are no entities {unknown}; there are {sorted(entities)}.")
    source = dict(given["source"])
    source["data"] = _beside(folder, source["data"])
    source["tables"] = {key: _beside(folder, data) for key, data in (source.get("tables") or {}).items()}
    aggregations = [Aggregation(**fields) for fields in given.get("aggregations") or ()]
    others = {key: value for key, value in given.items() if key not in ("entities", "source", "aggregations")}
    keys = [entities[entity] for entity in given["entities"]]
    return FeatureView(name, keys, Source(**source), aggregations=aggregations, **others)


def _beside(folder: Path, path: str) -> str:
    return path if "://" in path else str((folder / path).resolve())
