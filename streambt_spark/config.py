"""Every setting of a run: option > environment > profile > default, merged and checked once.

A setting `cash` of the section `broker` is the option `--cash`, the variable STREAMBT_BROKER_CASH
and the key `broker: {cash: …}` of a YAML profile.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PositiveFloat,
    PositiveInt,
    SecretStr,
    ValidationError,
)
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    YamlConfigSettingsSource,
)

from streambt_spark.errors import ConfigError, did_you_mean
from streambt_spark.masking import mask_address

PREFIX = "STREAMBT_"
PROFILE_FOLDERS = (Path("conf"), Path(__file__).parent / "conf", Path(__file__).parents[1] / "conf")
"""Where `--profile NAME` is looked for: here, in the installed package, in its source tree."""

_OPTION = {
    "address": "mongo",
    "folder": "mongo-folder",
    "parameters": "set",
    "strategy": "STRATEGY",
}
"""Options that are not named as their field."""


def literal(text: str) -> bool | int | float | str:
    """Return a text as the value it spells: a whole number, a decimal, true, false, or itself."""
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    if re.fullmatch(r"[+-]?\d+", text):
        return int(text)
    if re.fullmatch(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?", text, re.IGNORECASE):
        return float(text)
    return text


def _list(value: object) -> object:
    if isinstance(value, str):
        return [item.strip() for item in value.split(",") if item.strip()]
    return value


def _pairs(value: object) -> object:
    """Return `a=1,b=2`, or a list of such pairs, as a mapping of texts."""
    if isinstance(value, Mapping) or value is None:
        return value
    items = _list(value)
    if not isinstance(items, list | tuple) or not all(isinstance(i, str) for i in items):
        raise ValueError("expected NAME=VALUE")
    found = {}
    for item in items:
        name, equals, text = item.partition("=")
        if not equals or not name.strip():
            raise ValueError(f"expected NAME=VALUE, and {item!r} is not")
        if name.strip() in found:
            raise ValueError(f"expected {name.strip()} only once")
        found[name.strip()] = text.strip()
    return found


def _literals(value: object) -> object:
    pairs = _pairs(value)
    if not isinstance(pairs, Mapping):
        return pairs
    return {name: literal(v) if isinstance(v, str) else v for name, v in pairs.items()}


def _structure(value: object) -> object:
    """Return a text that opens a YAML mapping or list as that; anything else as it is."""
    if isinstance(value, str) and value.lstrip()[:1] in ("{", "["):
        try:
            return yaml.safe_load(value)
        except yaml.YAMLError:
            raise ValueError("expected a YAML mapping or list") from None
    return value


Texts = Annotated[tuple[str, ...], BeforeValidator(_list)]
Pairs = Annotated[dict[str, str], BeforeValidator(_pairs)]
Parameters = Annotated[dict[str, Any], BeforeValidator(_literals)]
Structured = BeforeValidator(_structure)


class Section(BaseModel):
    """A named group of settings."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class DataConfig(Section):
    """The bars a run reads."""

    bars: str | None = None
    """A CSV (also .gz) or Parquet file of bars."""
    snapshot: str | None = None
    """A snapshot made by `streambt export`: a folder or an s3a:// address, in place of bars."""
    interval: str | None = None
    """The bars' interval: 1m, 15m, 1h, 1d."""
    symbols: Texts = ()
    """The symbols to take; all where empty."""
    columns: Pairs = Field(default_factory=dict)
    """Names of the file's columns that differ: ts=Date,close=Adj Close."""
    tz: str | None = None
    """The zone of times without one, such as America/New_York; the machine's zone by default."""
    start: str | None = None
    """The first time taken, ISO 8601."""
    end: str | None = None
    """The first time no longer taken, ISO 8601."""
    calendar: str | None = None
    """The exchange calendar that metrics are annualised by, such as XNYS; 24/7 for crypto."""


class InstrumentConfig(Section):
    """How one symbol trades."""

    tick: PositiveFloat | None = None
    """The step of prices."""
    lot: PositiveFloat = 1.0
    """The step of quantities."""
    multiplier: PositiveFloat = 1.0
    """The value of one unit at a price of 1."""


class BrokerConfig(Section):
    """The simulated account."""

    cash: PositiveFloat = 1_000_000.0
    """Start cash in currency units."""
    commission: Annotated[float | str | dict[str, Any] | list[Any], Structured] = 0.0
    """1.5 (flat for an order), 0.1%, "0.005/share min 1 max 0.5%", {buy: …, sell: …} or tiers."""
    slippage: str = "none"
    """none, "2 ticks" or 0.05%."""
    allow_short: bool = False
    """Whether a pulse below zero opens a short position."""
    minor_digits: Annotated[int, Field(ge=0, le=8)] = 2
    """The number of decimals of the currency."""
    instruments: Annotated[dict[str, InstrumentConfig], Structured] = Field(default_factory=dict)
    """Tick, lot and multiplier of symbols that differ from the default."""


class RunConfig(Section):
    """The strategy, and how it is run."""

    strategy: str | None = None
    """A Python file with `def build(cerebro, bars, **params)`."""
    parameters: Parameters = Field(default_factory=dict)
    """Keyword arguments of build; numbers, true and false are read as such."""
    engine: Literal["local", "spark"] = "local"
    """local: one process without Spark; spark: the streaming job."""
    slices_per_batch: PositiveInt | None = None
    """Slices (times) in one micro-batch; as many as possible by default."""
    speed: Annotated[float, Field(ge=0)] = 0.0
    """Seconds of bars replayed in one second; 0 is as fast as possible."""
    bars_per_second: PositiveFloat | None = None
    """Bars replayed in one second."""
    out: str | None = None
    """The folder for the results."""
    ledger: str | None = None
    """The Delta ledger's address (a folder or s3a://); OUT/ledger by default."""
    checkpoint: str | None = None
    """The streaming checkpoint's address; OUT/checkpoint by default."""
    shuffle_partitions: PositiveInt | None = None
    """Partitions of the state; fixed with the checkpoint."""
    arrow_batch: PositiveInt | None = None
    """Rows in one Arrow batch between Spark and Python."""


class ExportConfig(Section):
    """The snapshots made of stored bars."""

    name: str = "bars"
    """The name of a snapshot; each export of it is the next version."""
    format: Literal["delta", "parquet"] = "delta"
    """The format of its files."""


class MongoConfig(Section):
    """The system of record for bars."""

    address: SecretStr | None = None
    """mongodb://…; without one a private server is started, its data in `folder`."""
    folder: str = "streambt-mongo"
    """Where the private server keeps its data."""
    database: str = "streambt"
    """The database's name."""
    timeout: PositiveFloat = 10.0
    """Seconds to wait for the server."""


class KafkaConfig(Section):
    """The message broker of live bars."""

    bootstrap: str | None = None
    """Its addresses: host:port,host:port."""
    topic: str | None = None
    """The topic of the bars."""
    topic_partitions: PositiveInt = 4
    """The partitions of a topic that replay-to-kafka makes."""


class LiveConfig(Section):
    """How a live run reads its topic. The broker's login comes from the KAFKA_* variables."""

    offsets: str = "earliest"
    """Where a new run begins: earliest, latest, or Spark's JSON; a resumed one goes on."""
    trigger: PositiveFloat = 1.0
    """Seconds from one micro-batch to the next."""
    max_offsets: PositiveInt | None = None
    """Messages in one micro-batch; all there are by default."""


class Settings(BaseSettings):
    """All sections."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_nested_delimiter="_",
        env_nested_max_split=1,
        enable_decoding=False,
        extra="forbid",
        frozen=True,
    )

    data: DataConfig = Field(default_factory=DataConfig)
    broker: BrokerConfig = Field(default_factory=BrokerConfig)
    run: RunConfig = Field(default_factory=RunConfig)
    mongo: MongoConfig = Field(default_factory=MongoConfig)
    export: ExportConfig = Field(default_factory=ExportConfig)
    kafka: KafkaConfig = Field(default_factory=KafkaConfig)
    live: LiveConfig = Field(default_factory=LiveConfig)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Take what `load` has merged, and nothing behind its back."""
        return (init_settings,)


SECTIONS: dict[str, type[Section]] = {
    name: field.annotation
    for name, field in Settings.model_fields.items()
    if isinstance(field.annotation, type) and issubclass(field.annotation, Section)
}
SECTION_OF = {field: name for name, model in SECTIONS.items() for field in model.model_fields}
"""The section of each field; field names are unique over the sections."""


@dataclass(frozen=True)
class Loaded:
    """Merged settings, and where each value that is not a default came from."""

    settings: Settings
    origins: Mapping[tuple[str, str], str]

    @cached_property
    def text(self) -> str:
        """The settings as YAML with each value's origin; secrets are masked."""
        lines = []
        for section, values in self.settings.model_dump().items():
            lines.append(f"{section}:")
            for name, value in values.items():
                origin = self.origins.get((section, name), "default")
                lines.append(f"  {f'{name}: {_plain(value)}':<40} # {origin}")
        return "\n".join(lines)


def _plain(value: object) -> str:
    if isinstance(value, SecretStr):
        value = mask_address(value.get_secret_value())
    value = list(value) if isinstance(value, tuple) else value
    text = yaml.safe_dump(value, default_flow_style=True, sort_keys=False, width=10_000)
    return text.removesuffix("\n").removesuffix("\n...")


def load(
    options: Mapping[str, object] | None = None,
    profile: str | None = None,
    defaults: Mapping[str, object] | None = None,
) -> Loaded:
    """Return the settings that options, environment, profile and defaults give, in this order.

    `options` and `defaults` map a field's name to its value, where None is "not given". Raises
    ConfigError with one clause for each setting that is wrong.
    """
    path = find_profile(profile) if profile else None
    layers = [
        ("default of this command", _sectioned(defaults or {})),
        (str(path), _read_profile(path) if path else {}),
        ("environment", EnvSettingsSource(Settings)()),
        ("option", _sectioned(options or {})),
    ]
    merged: dict[str, Any] = {}
    origins: dict[tuple[str, str], str] = {}
    for origin, layer in layers:
        for section, values in layer.items():
            if not isinstance(values, Mapping):
                raise ConfigError(f"{origin}: {section} is {values!r}; expected settings below it")
            merged.setdefault(section, {}).update(values)
            origins |= {(section, name): _origin(origin, section, name) for name in values}
    try:
        return Loaded(Settings(**merged), origins)
    except ValidationError as error:
        faults = error.errors(include_url=False)
        raise ConfigError("; ".join(dict.fromkeys(_clause(f, origins) for f in faults))) from None


def option_of(field: str) -> str:
    """Return the option that sets a field."""
    name = _OPTION.get(field, field).replace("_", "-")
    return name if name.isupper() else f"--{name}"


def find_profile(name: str) -> Path:
    """Return the file of a profile given by name or by path; raises ConfigError without one."""
    if name.endswith((".yaml", ".yml")) or "/" in name:
        if Path(name).is_file():
            return Path(name)
        raise ConfigError(f"--profile: there is no file {name}")
    for folder in PROFILE_FOLDERS:
        if (path := folder / f"{name}.yaml").is_file():
            return path
    known = sorted({p.stem for folder in PROFILE_FOLDERS for p in folder.glob("*.yaml")})
    raise ConfigError(
        f"--profile: there is no profile {name!r}{did_you_mean(name, known)}; "
        f"found {', '.join(known) or 'none'}; or give the path of a YAML file"
    )


def _sectioned(values: Mapping[str, object]) -> dict[str, dict[str, object]]:
    sections: dict[str, dict[str, object]] = {}
    for field, value in values.items():
        if value is not None:
            sections.setdefault(SECTION_OF[field], {})[field] = value
    return sections


def _read_profile(path: Path) -> dict[str, Any]:
    try:
        content = YamlConfigSettingsSource(Settings, path).yaml_data
    except (UnicodeDecodeError, yaml.reader.ReaderError):
        raise ConfigError(f"{path} is not a text file") from None
    except yaml.MarkedYAMLError as error:
        line = f" line {error.problem_mark.line + 1}" if error.problem_mark else ""
        raise ConfigError(f"{path}{line} is not YAML: {error.problem}") from None
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}") from None
    except (TypeError, ValueError):  # what the source makes of a list or a scalar
        content = None
    if not isinstance(content, Mapping):
        raise ConfigError(f"{path} is not a profile: expected sections such as `broker:`")
    known = sorted(SECTIONS)
    for section in content:
        if section not in SECTIONS:
            raise ConfigError(
                f"{path}: {section!r} is no section{did_you_mean(str(section), known)}; "
                f"expected {', '.join(known)}"
            )
    return content


def _origin(origin: str, section: str, name: str) -> str:
    if origin == "option":
        return option_of(name)
    if origin == "environment":
        return f"{PREFIX}{section}_{name}".upper()
    return origin


def _clause(fault: Any, origins: Mapping[tuple[str, str], str]) -> str:
    section, name, *below = map(str, fault["loc"])
    origin = origins.get((section, name), "default")
    if fault["type"] == "extra_forbidden":
        if below:
            return f"{origin}: there is no setting {'.'.join((section, name, *below))}"
        known = list(SECTIONS[section].model_fields)
        return f"{origin}: {section} has no setting {name!r}{did_you_mean(name, known)}"
    where = origin if origin == option_of(name) else f"{'.'.join((section, name))} ({origin})"
    found = "a secret" if name == "address" else repr(fault["input"])
    expected = re.sub("^(Value error, |Input should be )", "", fault["msg"])
    expected = expected if expected.startswith("expected") else f"expected {expected}"
    return f"{where}: found {found}, {expected}"
