"""The options that commands share; each is a field of streambt_spark.config.

All values arrive as text and None stands for "not given", so that one place, the configuration,
checks and converts them whether they come from an option, the environment or a profile.
"""

from __future__ import annotations

from typing import Annotated

import typer


def _text(flag: str, metavar: str, help_text: str, panel: str) -> typer.models.OptionInfo:
    option: typer.models.OptionInfo = typer.Option(
        flag, metavar=metavar, help=help_text, rich_help_panel=panel, show_default=False
    )
    return option


_DATA, _BROKER, _RUN, _STORE, _SHOW = "Bars", "Broker", "Run", "Stores", "Configuration"

Bars = Annotated[str | None, _text("--bars", "FILE", "CSV (also .gz) or Parquet file.", _DATA)]
Snapshot = Annotated[
    str | None, _text("--snapshot", "ADDRESS", "Exported snapshot, in place of --bars.", _DATA)
]
Interval = Annotated[str | None, _text("--interval", "1m|15m|1h|1d", "The bars' interval.", _DATA)]
Symbols = Annotated[str | None, _text("--symbols", "A,B,…", "Symbols to take; default all.", _DATA)]
Columns = Annotated[
    str | None,
    _text("--columns", "ts=Date,…", "The file's names of columns that differ.", _DATA),
]
Tz = Annotated[
    str | None, _text("--tz", "ZONE", "Zone of times without one; default the local one.", _DATA)
]
Start = Annotated[str | None, _text("--start", "TIME", "First time taken.", _DATA)]
End = Annotated[str | None, _text("--end", "TIME", "First time no longer taken.", _DATA)]
Calendar = Annotated[
    str | None,
    _text("--calendar", "XNYS|24/7|…", "Exchange calendar that metrics are annualised by.", _DATA),
]

Cash = Annotated[str | None, _text("--cash", "AMOUNT", "Start cash; default 1000000.", _BROKER)]
Commission = Annotated[
    str | None,
    _text(
        "--commission",
        "SCHEME",
        "1.5 (an order), 0.1%, '0.005/share min 1 max 0.5%', '{buy: …, sell: …}' or tiers.",
        _BROKER,
    ),
]
SlippageText = Annotated[
    str | None, _text("--slippage", "none|'2 ticks'|0.05%", "Default none.", _BROKER)
]
AllowShort = Annotated[
    bool | None,
    typer.Option(
        "--allow-short/--no-allow-short",
        help="Whether a pulse below zero goes short.",
        rich_help_panel=_BROKER,
        show_default=False,
    ),
]

Parameters = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="NAME=VALUE",
        help="A parameter of build; may be repeated.",
        rich_help_panel=_RUN,
        show_default=False,
    ),
]
Engine = Annotated[str | None, _text("--engine", "local|spark", "Default local.", _RUN)]
SlicesPerBatch = Annotated[
    str | None, _text("--slices-per-batch", "N", "Slices in a micro-batch.", _RUN)
]
Speed = Annotated[
    str | None,
    _text("--speed", "X", "Seconds of bars in one second; 0, the default, is unpaced.", _RUN),
]
BarsPerSecond = Annotated[
    str | None, _text("--bars-per-second", "X", "Bars in one second, in place of --speed.", _RUN)
]
Out = Annotated[str | None, _text("--out", "DIR", "Folder for the results.", _RUN)]
Ledger = Annotated[
    str | None, _text("--ledger", "ADDRESS", "Delta ledger; default DIR/ledger.", _RUN)
]
Checkpoint = Annotated[
    str | None, _text("--checkpoint", "ADDRESS", "Default DIR/checkpoint.", _RUN)
]
ShufflePartitions = Annotated[
    str | None, _text("--shuffle-partitions", "N", "Partitions of the state.", _RUN)
]
ArrowBatch = Annotated[
    str | None, _text("--arrow-batch", "N", "Rows between Spark and Python at once.", _RUN)
]

MongoAddress = Annotated[
    str | None,
    _text(
        "--mongo",
        "ADDRESS",
        "mongodb://…; better as STREAMBT_MONGO_ADDRESS, where no list of processes shows it.",
        _STORE,
    ),
]
Database = Annotated[
    str | None, _text("--database", "NAME", "MongoDB database; default streambt.", _STORE)
]
MongoFolder = Annotated[
    str | None,
    _text(
        "--mongo-folder",
        "DIR",
        "Data of the private server where no --mongo is given; default streambt-mongo.",
        _STORE,
    ),
]
SnapshotName = Annotated[
    str | None, _text("--name", "NAME", "Name of the snapshot; default bars.", _STORE)
]
SnapshotFormat = Annotated[
    str | None, _text("--format", "delta|parquet", "Format of the snapshot; default delta.", _STORE)
]
Timeout = Annotated[
    str | None, _text("--timeout", "SECONDS", "Wait for MongoDB; default 10.", _STORE)
]
Bootstrap = Annotated[str | None, _text("--bootstrap", "HOST:PORT,…", "Kafka's addresses.", _STORE)]
Topic = Annotated[str | None, _text("--topic", "NAME", "Kafka topic of the bars.", _STORE)]

TopicPartitions = Annotated[
    str | None,
    _text("--topic-partitions", "N", "Partitions where the topic is made; default 4.", _STORE),
]
Offsets = Annotated[
    str | None,
    _text("--offsets", "earliest|latest", "Where a new run begins; default earliest.", _RUN),
]
Trigger = Annotated[
    str | None, _text("--trigger", "SECONDS", "From batch to batch; default 1.", _RUN)
]
MaxOffsets = Annotated[
    str | None, _text("--max-offsets", "N", "Messages in a micro-batch; default all.", _RUN)
]

Profile = Annotated[
    str | None,
    typer.Option(
        "--profile",
        envvar="STREAMBT_PROFILE",
        metavar="NAME|FILE",
        help="YAML profile: conf/NAME.yaml or a file.",
        rich_help_panel=_SHOW,
        show_default=False,
    ),
]
ShowConfig = Annotated[
    bool,
    typer.Option(
        "--show-config",
        help="Print the merged settings, secrets masked, and stop.",
        rich_help_panel=_SHOW,
    ),
]
