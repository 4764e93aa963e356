"""Tests, by what they need: nothing, hypothesis, servers, Spark, a kill."""
