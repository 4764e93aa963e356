"""What a running job reports, and where reports go: `cerebro.run("spark", sinks=[...])`."""

from streambt_spark.spark.listener import MetricsFile, Notice, NoticeSink, Progress, ProgressSink

__all__ = ["MetricsFile", "Notice", "NoticeSink", "Progress", "ProgressSink"]
