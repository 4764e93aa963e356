"""Bring a file of bars into MongoDB.

    spark-submit --properties-file conf/spark-defaults.conf \\
        jobs/ingest.py BARS.csv.gz --interval 1d

The options are those of `streambt ingest --help`;
they can come from the environment or a profile too.
"""

import sys

from streambt_spark.cli import main

if __name__ == "__main__":
    main(["ingest", *sys.argv[1:]])
