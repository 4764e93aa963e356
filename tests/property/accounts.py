"""Hypothesis strategies for the broker: small markets, pulses and every kind of setting."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
from hypothesis import strategies as st

from streambt_spark.core.broker.allocation import (
    AllIn,
    Allocation,
    EqualWeight,
    FixedSize,
    PercentOfEquity,
    TargetPercent,
)
from streambt_spark.core.broker.settings import Broker
from streambt_spark.core.market.bars import Bars
from streambt_spark.core.market.instruments import Instrument
from streambt_spark.core.market.panel import Panel
from tests.oracle import Fee, NaiveBroker, Quote, Rules

DAY = 86_400_000_000
NAMES = ("A", "B", "C", "D")
F = Fraction


def targets_of(strength: Mapping[str, float]) -> dict[str, float]:
    """Return 7 units a unit of strength; a strength of 3 is this function's undoing."""
    if any(wish == 3.0 for wish in strength.values()):
        raise ValueError("three")
    return {name: 7.3 * wish for name, wish in strength.items()}


def _function(strength: Mapping[str, float], portfolio: object, bars: object) -> dict[str, float]:
    return targets_of(strength)


# Each setting as the library reads it, and as the oracle does.
ALLOCATIONS: tuple[tuple[Allocation, tuple[Any, ...]], ...] = (
    (FixedSize(10), ("fixed", F(10))),
    (FixedSize(2.5), ("fixed", F("2.5"))),
    (PercentOfEquity(0.3), ("entry", F("0.3"))),
    (TargetPercent(0.45), ("target", F("0.45"))),
    (TargetPercent(1.0), ("target", F(1))),
    (AllIn(), ("all",)),
    (EqualWeight(), ("equal", None, F(1))),
    (EqualWeight(3, share=0.9), ("equal", F(3), F("0.9"))),
    (_function, ("function", targets_of)),
)
COMMISSIONS: tuple[tuple[object, dict[str, tuple[Fee, ...]]], ...] = (
    (0, {}),
    (1.5, {"buy": (Fee(None, flat=F("1.5")),), "sell": (Fee(None, flat=F("1.5")),)}),
    ("0.1%", {s: (Fee(None, percent=F("0.1")),) for s in ("buy", "sell")}),
    ("0.25% min 1", {s: (Fee(None, percent=F("0.25"), minimum=F(1)),) for s in ("buy", "sell")}),
    (
        "0.005/share min 1 max 1%",
        {
            side: (Fee(None, per_share=F("0.005"), minimum=F(1), max_percent=F(1)),)
            for side in ("buy", "sell")
        },
    ),
    (
        {"buy": "0.2% max 3", "sell": "0.05/share"},
        {
            "buy": (Fee(None, percent=F("0.2"), maximum=F(3)),),
            "sell": (Fee(None, per_share=F("0.05")),),
        },
    ),
    (
        [[100, 1], [1000, "0.5% min 0.7"], "0.3% max 4"],
        {
            side: (
                Fee(F(100), flat=F(1)),
                Fee(F(1000), percent=F("0.5"), minimum=F("0.7")),
                Fee(None, percent=F("0.3"), maximum=F(4)),
            )
            for side in ("buy", "sell")
        },
    ),
)
SLIPPAGES: tuple[tuple[str, tuple[str, Fraction]], ...] = (
    ("none", ("none", F(0))),
    ("2 ticks", ("ticks", F(2))),
    ("0.05%", ("percent", F("0.05"))),
    ("1.5%", ("percent", F("1.5"))),
)
INSTRUMENTS = (
    Instrument(),
    Instrument(tick=0.05, lot=0.001),
    Instrument(tick=0.25, lot=1, multiplier=5),
)


@dataclass(frozen=True)
class Case:
    """A market, its pulses and an account: as arrays for the kernel, as dicts for the oracle."""

    panel: Panel
    strength: np.ndarray
    broker: Broker
    allocation: Allocation
    rules: Rules

    def bars(self) -> Bars:
        """Return the market's bars."""
        at, code = np.nonzero(self.panel.present)
        names = ("open", "high", "low", "close", "volume")
        columns = (getattr(self.panel, name)[at, code] for name in names)
        return Bars("1d", self.panel.symbols, code.astype(np.int32), self.panel.ts[at], *columns)

    def expected(self) -> NaiveBroker:
        """Return the oracle after the last slice."""
        naive = NaiveBroker(self.rules)
        for t, ts in enumerate(self.panel.ts.tolist()):
            quotes = {
                name: Quote(
                    *(F(repr(float(getattr(self.panel, f)[t, s]))) for f in Quote.__slots__)
                )
                for s, name in enumerate(self.panel.symbols)
                if self.panel.present[t, s]
            }
            pulses = dict(zip(self.panel.symbols, self.strength[t].tolist(), strict=True))
            naive.slice(ts, quotes, pulses)
        return naive


def panel_of(present: np.ndarray, ticks: np.ndarray, size: np.ndarray) -> Panel:
    """Return slices a day apart; `ticks` is int[T, S, 4]: open, close, room above, room below."""
    opened, closed = ticks[..., 0], ticks[..., 1]
    high = np.maximum(opened, closed) + ticks[..., 2]
    low = np.maximum(np.minimum(opened, closed) - ticks[..., 3], 1)
    prices = [np.where(present, (v * size) / 100.0, np.nan) for v in (opened, high, low, closed)]
    kept = present.any(axis=1)
    opened, high, low, closed = (np.ascontiguousarray(p[kept]) for p in prices)
    ts = np.arange(1, len(present) + 1) * DAY
    volume = np.where(present[kept], 1.0, np.nan)
    names = NAMES[: present.shape[1]]
    present = np.ascontiguousarray(present[kept])
    return Panel(names, ts[kept], present, opened, high, low, closed, volume)


@st.composite
def cases(draw: st.DrawFn) -> Case:
    """Draw a market of 2 to 4 symbols and up to 12 slices with an account that trades in it."""
    symbols, slices = draw(st.integers(2, 4)), draw(st.integers(1, 12))
    names = NAMES[:symbols]
    traded = {name: draw(st.sampled_from(INSTRUMENTS)) for name in names}
    size = np.array([round((traded[name].tick or 0.01) * 100) for name in names])
    level = draw(st.sampled_from((30, 1000, 20_000)))
    near = (
        st.integers(max(level - 12, 1), level + 12)
        if draw(st.booleans())
        else st.integers(max(level // 2, 1), level * 2)
    )
    bar = st.tuples(near, near, st.integers(0, 9), st.integers(0, 9), st.integers(0, 5))
    cells = draw(st.lists(bar, min_size=slices * symbols, max_size=slices * symbols))
    table = np.array(cells).reshape(slices, symbols, 5)
    pulse = st.sampled_from((0.0, 1.0, 1.0, -1.0, -1.0, float("nan"), 0.5, -2.0, 3.0))
    wishes = draw(st.lists(pulse, min_size=slices * symbols, max_size=slices * symbols))
    panel = panel_of(table[..., 4] > 0, table[..., :4], size)
    strength = np.array(wishes).reshape(slices, symbols)[: len(panel.ts)]
    return _case(draw, names, traded, panel, strength)


def _case(
    draw: st.DrawFn,
    names: tuple[str, ...],
    traded: dict[str, Instrument],
    panel: Panel,
    strength: np.ndarray,
) -> Case:
    allocation, asks = draw(st.sampled_from(ALLOCATIONS))
    if asks[0] == "equal":
        asks = ("target", asks[2] / (asks[1] or len(names)))
    commission, fees = draw(st.sampled_from(COMMISSIONS))
    slippage, slips = draw(st.sampled_from(SLIPPAGES))
    cash = draw(st.sampled_from(("250", "1000.50", "100000")))
    shorts = draw(st.booleans())
    orders = {name: draw(st.sampled_from((0, 0, 0, 4, -3))) for name in names}
    exact = {
        what: {name: F(str(getattr(traded[name], what))) for name in names}
        for what in ("lot", "multiplier")
    }
    ticks = {
        name: (F(str(tick)),) * 2 if (tick := traded[name].tick) else (F("0.01"), F("0.0001"))
        for name in names
    }
    rules = Rules(
        names, F(cash), asks, shorts, slips, fees, **exact, tick=ticks,
        opening={name: F(orders[name]) for name in names},
    )  # fmt: skip
    broker = Broker(float(cash), commission, slippage, shorts, 2, traded, orders)
    return Case(panel, strength, broker, allocation, rules)
