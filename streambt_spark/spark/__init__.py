"""Spark around the core: sources, the operator, sinks, and the session they run in."""
