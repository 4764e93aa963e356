"""Tests of properties, over examples that hypothesis makes."""
