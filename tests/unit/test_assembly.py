"""Assembly: one way from settings and data to a Cerebro that can run."""

from __future__ import annotations

from pathlib import Path

import pytest

from streambt_spark import Universe
from streambt_spark.assembly import assemble
from streambt_spark.errors import BadParameter, ConfigError
from streambt_spark.settings import Settings

STRATEGY = """
import numpy as np
from streambt_spark.allocation import FixedSize
import beside_the_strategy

def build(cerebro, bars, length=3):
    cerebro.add_strat(cerebro.add_indicator("MOM", bars["close"], timeperiod=length), FixedSize(1))
"""
DATA = Universe(("A", "B"), "1d")


def _settings(folder: Path, **sections: dict[str, object]) -> Settings:
    (folder / "beside_the_strategy.py").touch()
    (folder / "mine.py").write_text(STRATEGY)
    run = {"strategy": str(folder / "mine.py"), **sections.pop("run", {})}
    return Settings(run=run, **sections)  # type: ignore[arg-type]


def test_settings_become_a_strategy_with_its_account(tmp_path: Path) -> None:
    """The account, the calendar, the parameters, what is recorded and the modules to send along."""
    settings = _settings(
        tmp_path,
        run={"parameters": {"length": 7}, "record": "metrics"},
        broker={"cash": 500, "commission": "0.1%"},
        data={"calendar": "XLON"},
    )
    cerebro = assemble(settings, DATA)
    plan = cerebro.plan()
    assert [node.function.name for node in plan.nodes] == ["MOM"]
    assert plan.lanes[0].broker == cerebro.broker
    assert (cerebro.broker.cash, cerebro.calendar.name) == (500.0, "XLON")
    assert cerebro.record == "metrics"
    assert [m.__name__ for m in cerebro.modules] == ["strategy_mine", "beside_the_strategy"]


def test_each_assembly_is_its_own(tmp_path: Path) -> None:
    """Two of the same settings are the same strategy, and nothing of one is in the other."""
    settings = _settings(tmp_path)
    first, second = assemble(settings, DATA), assemble(settings, DATA)
    assert first.plan().identity == second.plan().identity
    assert len(second.plan().lanes) == 1


def test_what_is_missing_or_wrong_is_named(tmp_path: Path) -> None:
    """No strategy, an account that cannot be, a parameter that build does not have."""
    with pytest.raises(ConfigError, match="STRATEGY is not given; expected a Python file") as none:
        assemble(Settings(), DATA)
    assert none.value.option == "STRATEGY"
    with pytest.raises(BadParameter, match="commission 'abc' is not understood"):
        assemble(_settings(tmp_path, broker={"commission": "abc"}), DATA)
    with pytest.raises(BadParameter, match=r"--set lenth: .*\(did you mean length\?\)") as wrong:
        assemble(_settings(tmp_path, run={"parameters": {"lenth": 1}}), DATA)
    assert wrong.value.parameter == "lenth"
