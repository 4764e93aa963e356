"""Backtest a strategy on a snapshot of bars.

    spark-submit --properties-file conf/spark-defaults.conf \\
        jobs/backtest.py STRATEGY.py --snapshot ADDRESS --out DIR

The options are those of `streambt run --help`;
they can come from the environment or a profile too.
"""

import sys

from streambt_spark.cli import main

if __name__ == "__main__":
    main(["run", "--engine", "spark", *sys.argv[1:]])
