"""Commissions: any setting that is understood charges what it says, and bounds are bounds."""

from __future__ import annotations

import math
from fractions import Fraction
from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from streambt_spark.core.broker.commission import parse
from streambt_spark.core.broker.costs import charge
from streambt_spark.errors import BadParameter

decimals = st.decimals("0", "100", places=3, allow_nan=False).map(str)
values = st.decimals("0.01", "100000", places=2, allow_nan=False).map(str)


@given(decimals, st.sampled_from(("{}", "{}%", "{}/share")), decimals, decimals, decimals, values)
def test_a_rate_is_exact_between_its_bounds(
    rate: str, form: str, least: str, most: str, percent: str, value: str
) -> None:
    """min(max(rate, minimum), maximum, maximum per cent), to a few units in the last place."""
    text = f"{form.format(rate)} min {least} max {most} max {percent}%"
    quantity = 7
    exact = {
        "{}": Fraction(rate),
        "{}%": Fraction(rate) / 100 * Fraction(value),
        "{}/share": Fraction(rate) * quantity,
    }[form]
    bounded = min(
        max(exact, Fraction(least)), Fraction(most), Fraction(percent) / 100 * Fraction(value)
    )
    found = charge(np.array(parse(text).table()), 0, float(value), quantity)
    assert math.isclose(found, bounded, rel_tol=1e-15, abs_tol=0.0)


@given(st.lists(st.integers(1, 10**6), min_size=1, max_size=5, unique=True), st.integers(1, 10**6))
def test_a_value_falls_into_one_tier(bounds: list[int], cents: int) -> None:
    """The tier is the first whose bound is above the value, whatever the bits of the value."""
    edges = sorted(bounds)
    tiers = [*([edge / 100, float(number)] for number, edge in enumerate(edges)), float(len(edges))]
    expected = next((number for number, edge in enumerate(edges) if cents < edge), len(edges))
    for value in (cents / 100, 3 * (cents / 300), cents * 0.01):
        assert charge(np.array(parse(tiers).table()), 1, value, 1.0) == expected


@given(
    st.text(max_size=20) | st.recursive(st.floats() | st.text(max_size=5), st.lists, max_leaves=6)
)
def test_nothing_else_gets_through(setting: object) -> None:
    """Any text or nest of lists is a commission with ascending tiers, or a named refusal."""
    try:
        commission = parse(setting)
    except BadParameter:
        return
    for tiers in (commission.buy, commission.sell):
        assert tiers[-1].below == math.inf
        assert all(low.below < high.below for low, high in pairwise(tiers))
        assert all(math.isfinite(tier.flat + tier.percent + tier.per_share) for tier in tiers)
