"""`python -m bench features [PART ...]`: the cells whose names hold every PART, or all.

Each runs in a process of its own. Results are kept in bench/results/features.json, and shown in
bench/results/features.md, the worst first.
"""

from __future__ import annotations

from bench.features.numbers import CELLS as NUMBERS
from bench.features.spark import CELLS as SPARK
from bench.features.words import CELLS as WORDS
from bench.grids.run import Grid

INTRODUCTION = """
Written by `python -m bench features`. One process a cell; in it outgrow and its peer take turns on the same
rows, with the same cores: 2,000,000 rows of 10 numbers or a column of words, 200,000 documents, fewer where
the cell says so. Beside scikit-learn both get arrays or lists in memory, beside MLlib both read Parquet on
one warm Spark session, after a run on 1,000 rows. Seconds are medians of three turns on the clock, fewer of
slow peers (in brackets: of all cores); the ratio is the peer's seconds by outgrow's. Beside it is the sum
of the sizes of what the first thousand rows became, or of what was found: where the two are equal, so are
the results; random projections and sketches have their own randomness.
"""

GRID = Grid.of("features", INTRODUCTION, {"scikit-learn": 1.0, "MLlib": 5.0}, (*NUMBERS, *WORDS, *SPARK))


def main() -> None:
    GRID.main(__doc__)


if __name__ == "__main__":
    main()
