"""Send a snapshot's bars to a Kafka topic at a given rate.

    spark-submit --properties-file conf/spark-defaults.conf \\
        jobs/replay_to_kafka.py --snapshot ADDRESS --bootstrap HOST:9092 --topic bars

The options are those of `streambt replay-to-kafka --help`;
they can come from the environment or a profile too.
"""

import sys

from streambt_spark.cli import main

if __name__ == "__main__":
    main(["replay-to-kafka", *sys.argv[1:]])
