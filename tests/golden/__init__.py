"""Ledgers computed by hand."""
