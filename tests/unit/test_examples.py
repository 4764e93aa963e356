"""The examples on 23 years of real bars: exact ledgers, any portions, no look-ahead."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from streambt_spark import Broker, Cerebro
from streambt_spark.core.ledger.audit import audit
from streambt_spark.core.ledger.events import Events
from streambt_spark.core.ledger.fields import REGISTRY, Kind
from streambt_spark.core.market.bars import FIELDS, Bars
from streambt_spark.core.plan import Plan
from streambt_spark.engines import local
from streambt_spark.stores.intake import intake
from streambt_spark.stores.ledger import ledger_digest, ledger_table
from streambt_spark.strategy_file import load

EXAMPLES = Path(__file__).parents[2] / "examples"
NAMES = ("momentum_rank", "rsi_reversion", "sma_cross")
SHORT = {  # parameters with which 60 sessions are enough to trade
    "momentum_rank": {"window": 10},
    "rsi_reversion": {"timeperiod": 5},
    "sma_cross": {"fast": 3, "slow": 8},
}


@dataclass(frozen=True)
class Golden:
    """What a run gave when it was first looked at; figures in dollars."""

    digest: str
    fills: int
    rejected: int
    final: float


GOLDEN = {
    "momentum_rank": Golden(
        "9c4ce8966819711713122d2c207cf87d5fd5e54fc5f626707e7b70cb18b38d5a", 660, 0, 3654856.68
    ),
    "rsi_reversion": Golden(
        "9d5b7127928f035ba628d75672498089ac0fa549410f488374f3bf56b455e61e", 329, 0, 1002455.41
    ),
    "sma_cross": Golden(
        "355420f46d2c540e1def5a63aa99ef7394c33f9012f078f9b5f458866cca2c93", 1084, 0, 1634719.3
    ),
}


@pytest.fixture(scope="module")
def daily(market: Path) -> Bars:
    """Daily bars of five US symbols, 1998 to 2021."""
    return intake(market / "us_daily.csv.gz", interval="1d").bars


def cerebro_of(name: str, bars: Bars, **params: object) -> Cerebro:
    """Return the Cerebro that an example has built over bars."""
    cerebro = Cerebro(Broker(cash=1_000_000, commission="0.1%"))
    data = cerebro.add_data(bars)
    load(str(EXAMPLES / f"{name}.py")).build(cerebro, data, params)
    return cerebro


def digest_of(plan: Plan, events: Events) -> str:
    """Return the digest of what a lane did, whatever its name: that holds the example's source."""
    return ledger_digest(
        ledger_table(events, REGISTRY.vocabulary(["lane"], plan.symbols, plan.currencies))
    )


def sessions(bars: Bars, first: int, count: int) -> Bars:
    """Return the bars of some consecutive sessions."""
    days = np.unique(bars.ts)[first : first + count]
    return bars.take(np.isin(bars.ts, days))


@pytest.mark.parametrize("name", NAMES)
def test_the_whole_history(name: str, daily: Bars) -> None:
    """The ledger is the golden one to the bit, so are plain figures of it, and it is sound."""
    result = cerebro_of(name, daily).run()
    final = float(result.equity["equity"].iloc[-1])
    rejected = int((result.orders["status"] == "rejected").sum())
    events = local.run(result.plan, daily)
    digest = digest_of(result.plan, events)
    assert Golden(digest, len(result.fills), rejected, final) == GOLDEN[name]
    assert result.counts["read"] == result.counts["accepted"] == len(daily) == 29_245
    assert audit(result.plan, events, daily) == []


@pytest.mark.parametrize("name", NAMES)
def test_any_portions_give_one_digest(name: str, daily: Bars) -> None:
    """60 sessions: one at a time, by seven and at once, with trades among them."""
    bars = sessions(daily, 2_600, 60)
    plan = cerebro_of(name, bars, **SHORT[name]).plan()
    digests = {digest_of(plan, local.run(plan, bars, slices_at_once=n)) for n in (1, 7, 250)}
    assert len(digests) == 1
    assert Kind.FILL in local.run(plan, bars).kind


@pytest.mark.parametrize("name", NAMES)
def test_portions_do_not_show_over_many_anchors(name: str, daily: Bars) -> None:
    """2,000 sessions by 250, by 511 and at once: an anchor falls into several portions."""
    bars = sessions(daily, 1_000, 2_000)
    plan = cerebro_of(name, bars, **SHORT[name]).plan()
    assert (
        len({digest_of(plan, local.run(plan, bars, slices_at_once=n)) for n in (250, 511, 9999)})
        == 1
    )


@pytest.mark.parametrize("name", NAMES)
def test_no_bar_after_t_changes_the_ledger_up_to_t(name: str, daily: Bars) -> None:
    """At 50 random t all later bars are poisoned with extreme prices: nothing before moves."""
    bars = sessions(daily, 2_500, 450)
    plan = cerebro_of(name, bars, **SHORT[name]).plan()
    honest = local.run(plan, bars, slices_at_once=450)
    days = np.unique(bars.ts)
    random = np.random.default_rng(26)
    moved = 0
    for t in random.choice(days[20:-5], 50, replace=False):
        later = bars.ts > t
        wild = np.where(random.random(len(bars)) < 0.5, 1e-3, 1e4)
        columns = {
            field: np.where(
                later, np.round(getattr(bars, field) * wild + 0.01, 2), getattr(bars, field)
            )
            for field in FIELDS
        }
        poisoned = Bars(bars.interval, bars.symbols, bars.code, bars.ts, **columns)
        found = local.run(plan, poisoned, slices_at_once=450)
        before, after = (e.take((e.ts <= t) & (e.lane >= 0)) for e in (honest, found))
        assert before.records.tobytes() == after.records.tobytes(), t
        moved += digest_of(plan, found) != digest_of(plan, honest)
    assert moved == 50
