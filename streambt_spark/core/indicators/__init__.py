"""Indicators: causal functions of columns, their graph and their values over a stream."""
