"""Export bars from MongoDB as an immutable snapshot.

    spark-submit --properties-file conf/spark-defaults.conf \\
        jobs/export.py s3a://BUCKET/bars/daily --interval 1d

The options are those of `streambt export --help`;
they can come from the environment or a profile too.
"""

import sys

from streambt_spark.cli import main

if __name__ == "__main__":
    main(["export", *sys.argv[1:]])
