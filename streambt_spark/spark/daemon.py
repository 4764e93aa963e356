"""Spark's Python daemon, with what every worker needs loaded before it forks them.

A worker that imports pandas, numba and TA-Lib on its own takes two seconds, and a job has several;
forked from here they start with all of it, and share its memory.
"""

from pyspark.daemon import manager

from streambt_spark.core.compilation import compile_kernels
from streambt_spark.spark import operator, source  # noqa: F401 - what the workers run

if __name__ == "__main__":
    compile_kernels()
    manager()
