"""`python -m bench shapes [PART ...]`: the cells whose names hold every PART, or all.

Each runs in a process of its own. Results are kept in bench/results/shapes.json, so that some cells can be
measured anew, and shown in bench/results/shapes.md, the worst first.
"""

from __future__ import annotations

from bench.grids.run import Grid
from bench.shapes.linear import CELLS as LINEAR
from bench.shapes.others import CELLS as OTHERS
from bench.shapes.spark import CELLS as SPARK

INTRODUCTION = """
Written by `python -m bench shapes`. One process a cell; in it outgrow and its peer take turns on the same
rows, with the same cores: beside scikit-learn on rows in memory, beside MLlib on one warm Spark session, from
Parquet files or a DataFrame, both after a run on 1,000 rows (outgrow's is repeated before each of its turns:
Spark ends processes of Python that had nothing to do for a minute). Seconds are medians of three turns on the
clock, fewer of slow peers (in brackets: of all cores); the ratio is the peer's seconds by outgrow's. The
objective of each is what its model reaches, by the same code: it must not be worse than the peer's by more
than the cell's slack. "load" is the machine's when the cell ended.
"""

GRID = Grid.of("shapes", INTRODUCTION, {"scikit-learn": 0.9, "MLlib": 5.0}, (*LINEAR, *OTHERS, *SPARK))


def main() -> None:
    GRID.main(__doc__)


if __name__ == "__main__":
    main()
