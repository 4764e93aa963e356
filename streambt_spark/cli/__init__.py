"""The command line: `streambt COMMAND`, one module for each group of commands."""

from streambt_spark.cli.app import main

__all__ = ["main"]
