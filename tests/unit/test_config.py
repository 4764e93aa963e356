"""Settings: where each comes from, what is refused, and what is never shown."""

import os
from pathlib import Path

import pytest

from streambt_spark import config
from streambt_spark.config import literal, load
from streambt_spark.errors import ConfigError
from streambt_spark.masking import mask


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


def test_unknown_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    """A misspelt variable of a known section is refused and not ignored."""
    monkeypatch.setenv("STREAMBT_BROKER_CASSH", "1")
    with pytest.raises(ConfigError, match=r"^STREAMBT_BROKER_CASSH: broker has no setting 'cassh'"):
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


def test_fields_are_unique_and_documented() -> None:
    """An option names a field without its section, so names are unique; all have a text."""
    fields = [(n, f) for s in config.SECTIONS.values() for n, f in s.model_fields.items()]
    assert len({name for name, _ in fields}) == len(fields)
    assert [name for name, field in fields if not field.description] == []


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("mongodb://u:p@h:1/db", "mongodb://***@h:1/db"),
        ("mongodb://u:p@ss@h/db", "mongodb://***@h/db"),
        ("mongodb://u:p/s'w\"d@h/ a@b.c", "mongodb://***@h/ a@b.c"),
        ("no s3://u/p here, ask me@b.c", "no s3://u/p here, ask me@b.c"),
        ("see http://h/path?token=abc&x=1", "see http://h/path?token=***&x=1"),
        ('{"secretKey": "abc"}', '{"secretKey": ***}'),
        ("aws_secret_access_key = abc def", "aws_secret_access_key = *** def"),
        ("fast=10 a@b.c", "fast=10 a@b.c"),
    ],
)
def test_masks_addresses_and_pairs(text: str, masked: str) -> None:
    """Logins and the values of secret names are masked, and nothing else."""
    assert mask(text) == masked


def test_masks_values_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """A secret of the environment is masked wherever it turns up."""
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "canary-4711")
    monkeypatch.setenv("STREAMBT_MONGO_ADDRESS", "mongodb://me:hunter22@h")
    assert mask("denied for canary-4711 and hunter22") == "denied for *** and ***"


def test_masks_keys_with_a_slash_but_no_paths(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A key of AWS may hold a /; the place of a secret is none."""
    (tmp_path / "keys").mkdir()
    (tmp_path / "keys" / "one").touch()
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wJalrXUtn/K7MDENG")
    monkeypatch.setenv("STREAMBT_MONGO_ADDRESS", "mongodb://me:hun/ter22@h")
    for number, path in enumerate(("/run/pass", "~/.pass", "./pass", "keys/one")):
        monkeypatch.setenv(f"TOKEN_{number}", path)
    text = "/run/pass ~/.pass ./pass keys/one"
    assert mask(f"wJalrXUtn/K7MDENG hun/ter22 {text}") == f"*** *** {text}"


def test_show_masks_a_password_with_a_slash() -> None:
    """--show-config prints an address without its login, escaped or not."""
    text = load({"address": "mongodb://user:pa/ssw0rd@h/"}).text
    (line,) = [line for line in text.splitlines() if "address" in line]
    assert line.split("#")[0].strip() == "address: mongodb://***@h/"
