"""Bars, the rows of a stream, and slices: what the market shows, and when it may be used."""
