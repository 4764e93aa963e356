"""One PySpark Structured Streaming job for backtest, paced replay and live trading.

`Cerebro` puts a strategy together and runs it; see the README for a first one.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from streambt_spark.cerebro import Cerebro, Universe
    from streambt_spark.core.broker.settings import Broker
    from streambt_spark.core.indicators.library import indicator
    from streambt_spark.core.market.instruments import Instrument
    from streambt_spark.engines.result import Result

__all__ = ["Broker", "Cerebro", "Instrument", "Result", "Universe", "indicator"]

_HOMES = {
    "Broker": "core.broker.settings",
    "Cerebro": "cerebro",
    "Instrument": "core.market.instruments",
    "Result": "engines.result",
    "Universe": "cerebro",
    "indicator": "core.indicators.library",
}


def __getattr__(name: str) -> Any:
    # Loaded when asked for: a worker that needs the core alone must not load pandas and the rest.
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
