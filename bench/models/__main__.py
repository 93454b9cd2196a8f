"""`python -m bench models [PART ...]`: the cells whose names hold every PART, or all.

Each runs in a process of its own. Results are kept in bench/results/models.json, and shown in
bench/results/models.md, the worst first.
"""

from __future__ import annotations

from bench.grids.run import Grid
from bench.models.linear import CELLS as LINEAR
from bench.models.others import CELLS as OTHERS
from bench.models.relations import CELLS as RELATIONS
from bench.models.spark import CELLS as SPARK
from bench.models.spark_others import CELLS as SPARK_OTHERS

INTRODUCTION = """
Written by `python -m bench models`. One process a cell; in it outgrow and its peer take turns on the same
rows, with the same cores: 500,000 rows of 30 numbers, fewer where the cell says so. Beside libraries of one
machine both get arrays in memory, beside MLlib both read Parquet on one warm Spark session, after a run on
1,000 rows. Seconds are medians of three turns on the clock, fewer of slow peers (in brackets: of all cores);
the ratio is the peer's seconds by outgrow's. Objectives are what both minimise, on the rows of the fit, or of
trees the loss on rows held out. Peers other than scikit-learn: `pip install 'outgrow[peers]'`.
"""

AIMS = {
    **dict.fromkeys(("scikit-learn", "statsmodels", "lifelines", "mlxtend"), 1.0),
    "implicit": 0.83,
    "MLlib": 5.0,
}

GRID = Grid.of("models", INTRODUCTION, AIMS, (*LINEAR, *OTHERS, *RELATIONS, *SPARK, *SPARK_OTHERS))


def main() -> None:
    GRID.main(__doc__)


if __name__ == "__main__":
    main()
