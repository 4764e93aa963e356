"""Settings: where each comes from, what is refused, and what is never shown."""

import os
from pathlib import Path

import pytest

from streambt_spark import config
from streambt_spark.config import load
from streambt_spark.errors import ConfigError


@pytest.fixture(autouse=True)
def _clean(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in [n for n in os.environ if n.startswith(config.PREFIX)]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


def _profile(text: str) -> str:
    Path("test.yaml").write_text(text)
    return "test.yaml"


def test_layers(monkeypatch: pytest.MonkeyPatch) -> None:
    """An option wins over the environment, that over a profile, and that over a default."""
    profile = _profile("broker: {cash: 1, slippage: 2 ticks, commission: 0.1%}")
    monkeypatch.setenv("STREAMBT_BROKER_CASH", "2")
    monkeypatch.setenv("STREAMBT_BROKER_SLIPPAGE", "3 ticks")
    loaded = load({"cash": "3"}, profile)
    broker = loaded.settings.broker
    assert (broker.cash, broker.slippage, broker.commission) == (3.0, "3 ticks", "0.1%")
    assert broker.allow_short is False
    assert loaded.origins == {
        ("broker", "cash"): "--cash",
        ("broker", "slippage"): "STREAMBT_BROKER_SLIPPAGE",
        ("broker", "commission"): "test.yaml",
    }


def test_command_defaults_come_last() -> None:
    """A command's own default yields to a profile."""
    defaults = {"interval": "1d", "engine": "spark"}
    loaded = load({}, _profile("data: {interval: 1h}"), defaults)
    assert (loaded.settings.data.interval, loaded.settings.run.engine) == ("1h", "spark")


def test_texts_become_structures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lists, pairs and schemes can be written as the text of an option or a variable."""
    monkeypatch.setenv("STREAMBT_DATA_SYMBOLS", "AAPL, SPY")
    monkeypatch.setenv("STREAMBT_RUN_PARAMETERS", "fast=10,slow=30")
    settings = load(
        {"columns": "ts=Date,close=Adj Close", "commission": "{buy: 0.1%, sell: 2}"}
    ).settings
    assert settings.data.symbols == ("AAPL", "SPY")
    assert settings.run.parameters == {"fast": 10, "slow": 30}
    assert settings.data.columns == {"ts": "Date", "close": "Adj Close"}
    assert settings.broker.commission == {"buy": "0.1%", "sell": 2}


@pytest.mark.parametrize(
    ("options", "profile", "message"),
    [
        ({"cash": "abc"}, "", "--cash: found 'abc', expected a valid number"),
        ({"engine": "flink"}, "", "--engine: found 'flink', expected 'local' or 'spark'"),
        ({"slices_per_batch": "0"}, "", "--slices-per-batch: found '0', expected greater than 0"),
        ({"parameters": ["fast"]}, "", "--set: found ['fast'], expected NAME=VALUE"),
        ({"parameters": ["a=1", "a=2"]}, "", "--set: found ['a=1', 'a=2'], expected a only once"),
        ({}, "broker: {cash: -1}", "broker.cash (test.yaml): found -1, expected greater than 0"),
        ({}, "broker: {cassh: 1}", "test.yaml: broker has no setting 'cassh' (did you mean cash?)"),
        ({}, "brokr: {}", "test.yaml: 'brokr' is no section (did you mean broker?)"),
        ({}, "broker: 3", "test.yaml: broker is 3; expected settings below it"),
        ({}, "broker: {cash: [}", "test.yaml line 1 is not YAML"),
        ({}, "- broker", "test.yaml is not a profile"),
        (
            {},
            "broker: {instruments: {A: {tik: 1}}}",
            "test.yaml: there is no setting broker.instruments.A.tik",
        ),
    ],
)
def test_refusals(options: dict[str, object], profile: str, message: str) -> None:
    """A wrong setting is named with its origin, what was found and what was expected, in a line."""
    with pytest.raises(ConfigError) as caught:
        load(options, _profile(profile))
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("variable", "meant"),
    [
        ("STREAMBT_BROKER_CASSH", "STREAMBT_BROKER_CASH"),
        ("STREAMBT_BROKR_CASH", "STREAMBT_BROKER_CASH"),
        ("STREAMBT_SYMBOLS", "STREAMBT_DATA_SYMBOLS"),
        ("STREAMBT_PROFIL", "STREAMBT_PROFILE"),
        ("streambt_data_intervall", "STREAMBT_DATA_INTERVAL"),
    ],
)
def test_unknown_variable(monkeypatch: pytest.MonkeyPatch, variable: str, meant: str) -> None:
    """A misspelt variable is refused, with what was meant, and not ignored."""
    monkeypatch.setenv(variable, "1")
    with pytest.raises(ConfigError) as caught:
        load()
    assert str(caught.value) == f"{variable}: there is no such setting (did you mean {meant}?)"
    assert caught.value.option == variable


def test_variables_of_kubernetes_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """A service called streambt gives every pod beside it variables of that name."""
    for name in ("SERVICE_HOST", "PORT", "PORT_80_TCP_ADDR", "LIVE_SERVICE_PORT", "LIVE_PORT"):
        monkeypatch.setenv(f"STREAMBT_{name}", "1")
    load()


def test_every_fault_is_named() -> None:
    """All wrong settings are named at once."""
    with pytest.raises(ConfigError, match=r"--cash: .*; --engine: "):
        load({"cash": "x", "engine": "y"})


def test_profiles_by_name_and_path() -> None:
    """A profile is found in conf/ by its name, or by its path; else the known ones are listed."""
    Path("conf").mkdir()
    Path("conf/mine.yaml").write_text("broker: {cash: 7}")
    assert load({}, "mine").settings.broker.cash == 7.0
    assert load({}, "conf/mine.yaml").settings.broker.cash == 7.0
    with pytest.raises(ConfigError, match=r"no profile 'mien' \(did you mean mine\?\)"):
        load({}, "mien")
    with pytest.raises(ConfigError, match=r"there is no file conf/mien\.yaml"):
        load({}, "conf/mien.yaml")


@pytest.mark.parametrize("path", sorted(Path(__file__).parents[2].glob("conf/*.yaml")), ids=str)
def test_shipped_profiles_are_valid(path: Path) -> None:
    """Every profile in conf/ is accepted."""
    load({}, str(path))


def test_show_config(monkeypatch: pytest.MonkeyPatch) -> None:
    """The printed settings say where each came from and hold no secret."""
    monkeypatch.setenv("STREAMBT_MONGO_ADDRESS", "mongodb://me:hunter22@db.example/?ssl=true")
    text = load({"cash": "5"}).text
    assert "  cash: 5.0                                # --cash" in text.splitlines()
    assert "  slippage: none                           # default" in text.splitlines()
    assert "mongodb://***@db.example/?ssl=true" in text
    assert "hunter22" not in text


def test_show_masks_parameters_that_are_secrets() -> None:
    """Whatever a parameter called as a secret holds; the others are shown."""
    names = ("token", "key", "api_key", "secret", "password", "pwd", "apikey", "Access-Key")
    text = load({"parameters": [f"{name}=canary{i}" for i, name in enumerate(names)]}).text
    assert "canary" not in text
    assert "{fast: 10, keys: 3}" in load({"parameters": ["fast=10", "keys=3"]}).text


def test_show_masks_a_password_with_a_slash() -> None:
    """--show-config prints an address without its login, escaped or not."""
    text = load({"address": "mongodb://user:pa/ssw0rd@h/"}).text
    (line,) = [line for line in text.splitlines() if "address" in line]
    assert line.split("#")[0].strip() == "address: mongodb://***@h/"


@pytest.mark.parametrize("number", ["inf", "nan", "-inf"])
@pytest.mark.parametrize("name", ["timeout", "cash", "speed", "trigger", "bars_per_second"])
def test_numbers_are_finite(name: str, number: str) -> None:
    """No setting is endless or no number: a wait for ever, an account without a bound."""
    with pytest.raises(ConfigError, match=f"--{name.replace('_', '-')}: found '{number}', expect"):
        load({name: number})
