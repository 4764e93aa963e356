"""Every setting of a run: what it is called, what it may be, what it means, how it is written.

A field `cash` of the section `broker` is the option --cash, the variable STREAMBT_BROKER_CASH and
the key `broker: {cash: …}` of a YAML profile, it is in --show-config and in a run's manifest, and
its docstring is the option's help. It is defined here and used where it takes effect; nothing in
between names it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, dataclass, fields
from types import UnionType
from typing import (
    TYPE_CHECKING,
    Annotated,
    Any,
    ClassVar,
    Literal,
    Union,
    get_args,
    get_origin,
    get_type_hints,
)

import yaml
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PositiveFloat,
    PositiveInt,
    SecretStr,
    create_model,
)
from pydantic.fields import FieldInfo

from streambt_spark.core.broker.settings import Broker

__all__ = [
    "SECTIONS",
    "BrokerConfig",
    "DataConfig",
    "ExportConfig",
    "InstrumentConfig",
    "KafkaConfig",
    "LiveConfig",
    "MongoConfig",
    "Option",
    "RunConfig",
    "Section",
    "Setting",
    "Settings",
    "literal",
    "setting_named",
    "settings_of",
]


@dataclass(frozen=True, slots=True)
class Option:
    """How a setting is written on the command line, where its name and type do not say it.

    `metavar` stands for the value in the help, `flag` is in place of the field's name, and a
    `repeated` option may be given several times.
    """

    metavar: str = ""
    flag: str = ""
    repeated: bool = False


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
    pairs = {}
    for item in items:
        name, equals, text = item.partition("=")
        if not equals or not name.strip():
            raise ValueError(f"expected NAME=VALUE, and {item!r} is not")
        if name.strip() in pairs:
            raise ValueError(f"expected {name.strip()} only once")
        pairs[name.strip()] = text.strip()
    return pairs


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


_Texts = Annotated[tuple[str, ...], BeforeValidator(_list)]
_Pairs = Annotated[dict[str, str], BeforeValidator(_pairs)]
_Amounts = Annotated[dict[str, float], BeforeValidator(_pairs)]
_Parameters = Annotated[dict[str, Any], BeforeValidator(_literals)]
_Structured = BeforeValidator(_structure)


class Section(BaseModel):
    """A named group of settings; `panel` is its heading in the help."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, use_attribute_docstrings=True, allow_inf_nan=False
    )
    panel: ClassVar[str] = "Stores"


class DataConfig(Section):
    """The bars a run reads."""

    panel = "Bars"
    bars: Annotated[str | None, Option("FILE")] = None
    """A CSV (also .gz) or Parquet file of bars."""
    snapshot: Annotated[str | None, Option("ADDRESS")] = None
    """An exported snapshot, in place of --bars: a folder or s3a://…"""
    interval: Annotated[str | None, Option("1m|15m|1h|1d")] = None
    """The bars' interval."""
    symbols: Annotated[_Texts, Option("A,B,…")] = ()
    """The symbols to take; default all."""
    columns: Annotated[_Pairs, Option("ts=Date,…")] = Field(default_factory=dict)
    """The file's names of columns that differ."""
    tz: Annotated[str | None, Option("ZONE")] = None
    """The zone of times that state none, such as America/New_York; default the machine's own."""
    start: Annotated[str | None, Option("TIME")] = None
    """The first time taken, ISO 8601."""
    end: Annotated[str | None, Option("TIME")] = None
    """The first time no longer taken, ISO 8601."""
    calendar: Annotated[str | None, Option("XNYS|24/7|…")] = None
    """The exchange calendar that metrics are annualised by; default by the symbols."""
    allow_rejected: bool = False
    """Whether to run although more than half of the rows are rejected."""


class InstrumentConfig(Section):
    """How one symbol trades; what is left out is as the symbol's kind has it."""

    tick: PositiveFloat | None = None
    """The step of prices."""
    lot: PositiveFloat | None = None
    """The step of quantities."""
    multiplier: PositiveFloat | None = None
    """The value of one unit at a price of 1."""


class _Account(Section):
    """The simulated account: the fields of Broker, with their defaults and texts."""

    panel = "Broker"


_FORMS: dict[str, Any] = {
    "cash": Annotated[PositiveFloat, Option("AMOUNT")],
    "commission": Annotated[
        float | str | dict[str, Any] | list[Any], _Structured, Option("SCHEME")
    ],
    "slippage": Annotated[str, Option("none|'2 ticks'|0.05%")],
    "minor_digits": Annotated[int, Field(ge=0, le=8)],
    "instruments": Annotated[dict[str, InstrumentConfig], _Structured, Option("YAML")],
    "opening": Annotated[_Amounts, Option("A=10,…")],
}
"""How fields of Broker are written whose type alone does not say it."""


def _account_fields() -> dict[str, Any]:
    """Return the fields of Broker as those of a section."""
    types, entries = get_type_hints(Broker), {}
    for each in fields(Broker):
        default: dict[str, Any] = {"default": each.default}
        if each.default is MISSING:
            default = {"default_factory": each.default_factory}
        described = Field(**default, description=each.metadata["text"])
        entries[each.name] = (_FORMS.get(each.name, types[each.name]), described)
    return entries


if TYPE_CHECKING:

    class BrokerConfig(_Account):
        """The simulated account, as `_account_fields` makes it."""

        def __getattr__(self, name: str) -> Any: ...

else:
    BrokerConfig = create_model(
        "BrokerConfig",
        __base__=_Account,
        __doc__=_Account.__doc__,
        __module__=__name__,
        **_account_fields(),
    )


class RunConfig(Section):
    """The strategy, and how it is run."""

    panel = "Run"
    strategy: Annotated[str | None, Option("STRATEGY.py", flag="STRATEGY")] = None
    """A Python file with build(cerebro, bars, **params)."""
    parameters: Annotated[_Parameters, Option("NAME=VALUE", flag="--set", repeated=True)] = Field(
        default_factory=dict
    )
    """A parameter of build; may be repeated."""
    engine: Literal["local", "spark"] = "local"
    """One process without Spark, or the streaming job."""
    record: Literal["full", "equity", "metrics"] = "full"
    """What strategies leave in the ledger where they name nothing else: all, equity or figures."""
    blocks: PositiveInt = 1
    """The parts that Spark splits the strategies into, to run side by side."""
    slices_per_batch: PositiveInt | None = None
    """Slices (times) in a micro-batch; default as many as fit."""
    speed: Annotated[float, Field(ge=0)] = 0.0
    """Seconds of bars replayed in one second; 0 is as fast as possible."""
    bars_per_second: PositiveFloat | None = None
    """Bars replayed in one second, in place of --speed."""
    out: Annotated[str | None, Option("DIR")] = None
    """The folder for the results."""
    ledger: Annotated[str | None, Option("ADDRESS")] = None
    """The Delta ledger, a folder or s3a://…; default DIR/ledger."""
    checkpoint: Annotated[str | None, Option("ADDRESS")] = None
    """The streaming checkpoint; default DIR/checkpoint."""
    shuffle_partitions: PositiveInt | None = None
    """Partitions of the state; default one a block."""
    arrow_batch: PositiveInt | None = None
    """Rows between Spark and Python at once."""


class ExportConfig(Section):
    """The snapshots made of stored bars."""

    name: Annotated[str, Option("NAME")] = "bars"
    """The snapshot's name; each export of it is the next version."""
    format: Literal["delta", "parquet"] = "delta"
    """The format of its files."""


class MongoConfig(Section):
    """The system of record for bars."""

    address: Annotated[SecretStr | None, Option("ADDRESS", flag="--mongo")] = None
    """mongodb://…; better as STREAMBT_MONGO_ADDRESS, where no list of processes shows it."""
    folder: Annotated[str, Option("DIR", flag="--mongo-folder")] = "streambt-mongo"
    """Where a private server keeps its data, if no --mongo is given."""
    database: Annotated[str, Option("NAME")] = "streambt"
    """The MongoDB database."""
    timeout: Annotated[PositiveFloat, Option("SECONDS")] = 10.0
    """How long to wait for MongoDB."""


class KafkaConfig(Section):
    """The message broker of live bars. Its login comes from the KAFKA_* variables."""

    bootstrap: Annotated[str | None, Option("HOST:PORT,…")] = None
    """Kafka's addresses."""
    topic: Annotated[str | None, Option("NAME")] = None
    """The Kafka topic of the bars."""
    topic_partitions: PositiveInt = 4
    """Partitions where the topic is made."""


class LiveConfig(Section):
    """How a live run reads its topic."""

    panel = "Run"
    offsets: Annotated[str, Option("earliest|latest")] = "earliest"
    """Where a new run begins (or Spark's JSON); a resumed one goes on."""
    trigger: Annotated[PositiveFloat, Option("SECONDS")] = 1.0
    """From batch to batch."""
    max_offsets: PositiveInt | None = None
    """Messages in a micro-batch; default all there are."""


class Settings(Section):
    """All sections."""

    data: DataConfig = Field(default_factory=DataConfig)
    broker: BrokerConfig = Field(default_factory=BrokerConfig)
    run: RunConfig = Field(default_factory=RunConfig)
    mongo: MongoConfig = Field(default_factory=MongoConfig)
    export: ExportConfig = Field(default_factory=ExportConfig)
    kafka: KafkaConfig = Field(default_factory=KafkaConfig)
    live: LiveConfig = Field(default_factory=LiveConfig)

    def replaced(self, section: str, **values: object) -> Settings:
        """Return the settings with some values of a section replaced."""
        changed = getattr(self, section).model_copy(update=values)
        return self.model_copy(update={section: changed})


SECTIONS: dict[str, type[Section]] = {
    name: field.annotation
    for name, field in Settings.model_fields.items()
    if isinstance(field.annotation, type) and issubclass(field.annotation, Section)
}


@dataclass(frozen=True, slots=True)
class Setting:
    """One field of a section, as options, variables and messages name it."""

    section: str
    name: str
    field: FieldInfo

    @property
    def path(self) -> str:
        """Its section and name, such as broker.cash."""
        return f"{self.section}.{self.name}"

    @property
    def option(self) -> Option:
        """How it is written."""
        return next((m for m in self.field.metadata if isinstance(m, Option)), Option())

    @property
    def flag(self) -> str:
        """The option, such as --cash; --allow-short has a --no-allow-short beside it."""
        return self.option.flag or f"--{self.name.replace('_', '-')}"

    @property
    def switch(self) -> bool:
        """Whether the option is given without a value."""
        return self.field.annotation is bool

    @property
    def panel(self) -> str:
        """Its heading in the help."""
        return SECTIONS[self.section].panel

    @property
    def metavar(self) -> str:
        """What stands for its value in the help."""
        kind = _bare(self.field.annotation)
        if get_origin(kind) is Literal:
            return self.option.metavar or "|".join(get_args(kind))
        return self.option.metavar or {int: "N", float: "X", str: "TEXT"}.get(kind, "YAML")

    @property
    def help(self) -> str:
        """What it means, and its default where that says something."""
        text = " ".join((self.field.description or "").split())
        default = self.field.get_default(call_default_factory=True)
        if not default or default is True:
            return text
        default_text = f"{default:.15g}" if isinstance(default, float) else str(default)
        return f"{text.removesuffix('.')}; default {default_text}."


def _bare(kind: Any) -> Any:
    """Return a type without the None and the constraints around it."""
    if get_origin(kind) in (Union, UnionType):
        return _bare(next(k for k in get_args(kind) if k is not type(None)))
    return _bare(get_args(kind)[0]) if get_origin(kind) is Annotated else kind


def settings_of(section: str) -> Iterator[Setting]:
    """Yield the settings of a section, in their order."""
    for name, field in SECTIONS[section].model_fields.items():
        yield Setting(section, name, field)


_SETTINGS = {s.name: s for section in SECTIONS for s in settings_of(section)}
"""By name, which is unique over the sections."""


def setting_named(name: str) -> Setting:
    """Return the setting of that name; raises KeyError where there is none."""
    return _SETTINGS[name]
