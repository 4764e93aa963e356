"""Trade a strategy on live bars from Kafka.

    spark-submit --properties-file conf/spark-defaults.conf \\
        jobs/live.py STRATEGY.py --bootstrap HOST:9092 --topic bars \\
        --symbols AAPL,SPY --interval 1m --out DIR

The options are those of `streambt live --help`;
they can come from the environment or a profile too.
"""

import sys

from streambt_spark.cli import main

if __name__ == "__main__":
    main(["live", *sys.argv[1:]])
