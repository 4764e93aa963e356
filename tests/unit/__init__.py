"""Tests without Spark and servers."""
