"""The tear sheet: one offline HTML file about one lane of a run."""

from streambt_spark.report.data import ReportData
from streambt_spark.report.page import render

__all__ = ["ReportData", "render"]
