"""Settings: each is defined once, and everything else about it is made of that."""

from __future__ import annotations

import inspect
import json
import re
import shutil
import subprocess
import sys
from collections import Counter
from dataclasses import fields
from pathlib import Path

import pytest
import typer

from streambt_spark import Broker, settings
from streambt_spark.assembly import broker_of
from streambt_spark.cli.app import app
from streambt_spark.core.market.instruments import Instrument
from streambt_spark.settings import SECTIONS, BrokerConfig, Settings, literal, settings_of

PACKAGE = Path(settings.__file__).parent
ALL = [s for section in SECTIONS for s in settings_of(section)]


def test_settings_are_unique_and_documented() -> None:
    """An option names a setting without its section; its docstring is the help."""
    assert [n for n, times in Counter(s.name for s in ALL).items() if times > 1] == []
    assert [n for n, times in Counter(s.flag for s in ALL).items() if times > 1] == []
    assert [s.path for s in ALL if not s.help.endswith((".", "…"))] == []


def _options() -> dict[str, list[str]]:
    """Return flag → commands, of the whole command line."""
    flags: dict[str, list[str]] = {}
    for name, command in typer.main.get_command(app).commands.items():  # type: ignore[attr-defined]
        for parameter in command.params:
            for flag in (*parameter.opts, *parameter.secondary_opts):
                flags.setdefault(flag, []).append(name)
    return flags


def test_every_setting_is_an_option() -> None:
    """Nothing can be set in a profile alone."""
    options = _options()
    arguments = {"bars", "strategy"}
    assert [s.flag for s in ALL if s.flag not in options and s.name not in arguments] == []
    assert set(options["--cash"]) == {"run", "live", "demo"}
    assert set(options["--show-config"]) == {
        "run", "live", "demo", "ingest", "export", "validate", "doctor", "replay-to-kafka",
    }  # fmt: skip


def test_the_account_is_made_of_its_own_fields() -> None:
    """Broker's fields are the section's, with their defaults: none is forgotten on the way."""
    assert set(BrokerConfig.model_fields) == {field.name for field in fields(Broker)}
    assert broker_of(Settings()) == Broker()


def test_an_instrument_keeps_what_is_not_chosen() -> None:
    """A crypto symbol with a tick of its own still trades in fractions."""
    broker = {"instruments": {"@BTCUSD": {"tick": 0.5}, "AAPL": {"lot": 10}}}
    made = broker_of(Settings(broker=broker)).instruments  # type: ignore[arg-type]
    assert made == {"@BTCUSD": Instrument(tick=0.5, lot=1e-8), "AAPL": Instrument(lot=10.0)}


SCRIPT = """
import json, os
from streambt_spark.assembly import broker_of
from streambt_spark.cli.app import _run
from streambt_spark.config import load

commands = [_run([name, "--help"]) for name in ("run", "live", "demo")]
loaded = [load({"borrow_fee": "0.25"}), load({}, "p.yaml")]
del os.environ["STREAMBT_BROKER_BORROW_FEE"]
loaded += [load({}, "p.yaml"), load()]
fees = [broker_of(each.settings).borrow_fee for each in loaded]
shown = [line.split() for line in loaded[0].text.splitlines() if "borrow_fee" in line]
print(json.dumps([commands, fees, shown]))
"""


def test_a_broker_setting_is_added_in_one_place(tmp_path: Path) -> None:
    """A field of the account is all: it is then an option of every command with an account, a
    variable, a key of a profile, in --show-config, and it reaches Broker and its identity.
    """
    package = tmp_path / "streambt_spark"
    shutil.copytree(PACKAGE, package, ignore=shutil.ignore_patterns("__pycache__"))
    account = package / Path(inspect.getsourcefile(Broker) or "").relative_to(PACKAGE)
    field = '    borrow_fee: float = setting(0.5, "The yearly fee of a short position.")\n'
    _insert(account, r"class Broker:.*?\n    cash: .*?\n", field)
    places = [p for p in package.rglob("*.py") if "borrow_fee" in p.read_text()]
    assert places == [account]

    (tmp_path / "p.yaml").write_text("broker: {borrow_fee: 0.125}\n")
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        cwd=tmp_path,
        env={"PYTHONPATH": str(tmp_path), "STREAMBT_BROKER_BORROW_FEE": "1.5", "COLUMNS": "120"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    commands, fees, shown = json.loads(done.stdout.splitlines()[-1])
    assert commands == [0, 0, 0]
    help_lines = re.findall(r"--borrow-fee +X +The yearly fee of a short position; d", done.stdout)
    assert len(help_lines) == 3
    assert fees == [0.25, 1.5, 0.125, 0.5]  # option, variable, profile, default
    assert shown == [["borrow_fee:", "0.25", "#", "--borrow-fee"]]


def _insert(path: Path, after: str, line: str) -> None:
    text = path.read_text()
    found = re.search(after, text, re.DOTALL)
    assert found is not None, f"{path} has no {after}"
    path.write_text(text[: found.end()] + line + text[found.end() :])


def test_nothing_between_names_a_setting() -> None:
    """Neither the options, nor the merging, nor the assembly lists settings by hand."""
    names = {"commission", "slippage", "allow_short", "minor_digits", "opening", "slices_per_batch"}
    for file in ("config.py", "assembly.py", "cli/options.py", "cli/app.py"):
        words = set(re.findall(r"\w+", (PACKAGE / file).read_text()))
        assert names & words == set(), file


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("10", 10),
        ("-3", -3),
        ("0.5", 0.5),
        ("1e3", 1000.0),
        ("true", True),
        ("False", False),
        ("SMA", "SMA"),
        ("1_000", "1_000"),
        ("nan", "nan"),
        ("", ""),
    ],
)
def test_literals(text: str, value: object) -> None:
    """A parameter is a number or a truth value only where it is written as one."""
    found = literal(text)
    assert (found, type(found)) == (value, type(value))
