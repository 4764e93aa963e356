"""Fills an image's caches with a first job: all jars, the JVM's classes."""

from tempfile import TemporaryDirectory

from streambt_spark import Cerebro
from streambt_spark.allocation import FixedSize
from streambt_spark.spark.jars import class_path, coordinates
from streambt_spark.spark.java import java_version
from streambt_spark.stores.generator import generate

if __name__ == "__main__":
    java = java_version().path
    for addresses in ((), ("s3a://bucket",)):
        for kafka in (False, True):
            class_path(coordinates(addresses, kafka=kafka), java)
    cerebro = Cerebro()
    data = cerebro.add_data(generate(2, 500, "1d", 7))
    cerebro.add_strat(cerebro.add_indicator("MOM", data["close"], timeperiod=10), FixedSize(1))
    with TemporaryDirectory() as folder:
        print(cerebro.run("spark", out=folder).digest)
