"""From settings to a Cerebro that can run: the account, the strategy file, its graph."""

from __future__ import annotations

from dataclasses import fields, replace

from streambt_spark import strategy_file
from streambt_spark.cerebro import Cerebro, Data
from streambt_spark.core.broker.settings import Broker
from streambt_spark.core.market.instruments import Instrument, default_instrument
from streambt_spark.errors import ConfigError
from streambt_spark.settings import InstrumentConfig, Settings

__all__ = ["assemble", "broker_of", "strategy_path"]


def assemble(settings: Settings, data: Data) -> Cerebro:
    """Load the strategy file, open its account and let it build its graph on the data.

    Raises ConfigError where there is no strategy, BadParameter for a wrong account or parameter,
    and what the file's code raises with its line.
    """
    file = strategy_file.load(strategy_path(settings))
    cerebro = Cerebro(
        broker_of(settings), calendar=settings.data.calendar, record=settings.run.record
    )
    cerebro.modules = file.modules
    file.build(cerebro, cerebro.add_data(data), settings.run.parameters)
    return cerebro


def strategy_path(settings: Settings) -> str:
    """Return the strategy's file; raises ConfigError where none is given."""
    if not settings.run.strategy:
        raise ConfigError(
            f"STRATEGY is not given; expected a Python file with {strategy_file.SIGNATURE}",
            option="STRATEGY",
        )
    return settings.run.strategy


def broker_of(settings: Settings) -> Broker:
    """Return the account that the settings describe: the fields of Broker, whatever they are."""
    values = {field.name: getattr(settings.broker, field.name) for field in fields(Broker)}
    values["instruments"] = {
        symbol: _instrument(symbol, chosen) for symbol, chosen in values["instruments"].items()
    }
    return Broker(**values)


def _instrument(symbol: str, chosen: InstrumentConfig) -> Instrument:
    """Return how a symbol trades: as its kind does, but for what was chosen."""
    return replace(default_instrument(symbol), **chosen.model_dump(exclude_none=True))
