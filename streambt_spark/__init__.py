"""One PySpark Structured Streaming job for backtest, paced replay and live trading.

`Cerebro` puts a strategy together and runs it; see the README for a first one. Beside the names
here, `streambt_spark.allocation` has the allocations, `streambt_spark.errors` every error and
`streambt_spark.progress` what a running job reports.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from streambt_spark.cerebro import Cerebro, Universe
    from streambt_spark.core.broker.commission import Commission, Tier
    from streambt_spark.core.broker.settings import Broker
    from streambt_spark.core.broker.slippage import Slippage
    from streambt_spark.core.indicators.library import indicator
    from streambt_spark.core.market.instruments import Instrument
    from streambt_spark.engines.result import Result
    from streambt_spark.stores.lake import Snapshot, open_snapshot

    __version__: str

__all__ = [
    "Broker",
    "Cerebro",
    "Commission",
    "Instrument",
    "Result",
    "Slippage",
    "Snapshot",
    "Tier",
    "Universe",
    "__version__",
    "indicator",
    "open_snapshot",
]

_HOMES = {
    "Broker": "core.broker.settings",
    "Cerebro": "cerebro",
    "Commission": "core.broker.commission",
    "Instrument": "core.market.instruments",
    "Result": "engines.result",
    "Slippage": "core.broker.slippage",
    "Snapshot": "stores.lake",
    "Tier": "core.broker.commission",
    "Universe": "cerebro",
    "indicator": "core.indicators.library",
    "open_snapshot": "stores.lake",
}


def __getattr__(name: str) -> Any:
    # Loaded when asked for: a worker that needs the core alone must not load pandas and the rest.
    if name == "__version__":
        from importlib.metadata import version

        return version("streambt-spark")
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
