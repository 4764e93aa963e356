"""The stateful operator: packs of rows to ledger events, by applyInPandasWithState.

It only translates: it decodes the state, calls the core's step and encodes the state again, and
the codes of the events become texts in the JVM. Spark gives a group's packs in no order and in
several frames, so all of them are collected, and then folded in portions from the earliest on.

The key is the lane block: the lanes of one block share the bars, which reach it once.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pyspark.sql import functions as F  # noqa: N812 - the name every Spark user knows
from pyspark.sql.streaming.state import GroupStateTimeout
from pyspark.sql.types import BinaryType, StructField, StructType

from streambt_spark.core.block import open_block, step
from streambt_spark.core.ledger.events import Events
from streambt_spark.core.ledger.fields import REGISTRY, Field, Kind
from streambt_spark.core.market.portions import portions
from streambt_spark.core.plan import Plan, Program, compile_plan
from streambt_spark.core.state import decode, encode
from streambt_spark.spark import schemas
from streambt_spark.spark.memory import release_unused
from streambt_spark.spark.shipping import Shipped
from streambt_spark.streams.packing import packer, parts_of

if TYPE_CHECKING:
    from types import ModuleType

    from pyspark.sql import Column, DataFrame
    from pyspark.sql.streaming.state import GroupState

# Spark joins our frames with empty ones of its own; pandas says of it what users cannot change.
warnings.filterwarnings("ignore", "The behavior of DataFrame concatenation", FutureWarning)

OBSERVED = "ledger"
"""The name of the figures that a query's progress carries, for the listener."""

ROWS_AT_ONCE, SLICES_AT_ONCE = 131_072, 500
"""What one step takes of a batch: few enough rows for the caches and for the memory of a worker, or
enough slices of a wide universe to spread the cost of a step."""

_BLOCK = "block"
_STATE = StructType([StructField("block", BinaryType())])
_SQL_TYPES = {"i1": "byte", "i4": "int", "i8": "long", "f8": "double"}
_TEXT = "text"


def _coded(field: Field) -> str:
    """Return a field as the folder gives it: a code, but for texts, which no plan knows."""
    return f"{field.name} {'string' if field.words == _TEXT else _SQL_TYPES[field.dtype]}"


_CODED = ", ".join(map(_coded, REGISTRY.fields))


def packed(rows: DataFrame, symbols: Sequence[str], interval: str) -> DataFrame:
    """Return a stream of rows, with the columns of STREAM that it has, as packs (schema PACKS)."""
    return rows.mapInArrow(packer(symbols, interval), schemas.PACKS)


def ledger_stream(
    packs: DataFrame,
    plan: Plan,
    blocks: Sequence[Plan] | None = None,
    modules: Sequence[ModuleType] = (),
) -> DataFrame:
    """Return the ledger (schema LEDGER) of a stream of packs (schema PACKS).

    `blocks` are the parts of the plan that are folded apart from each other, by default the plan
    as one; `modules` are those of the user's that a worker cannot import.
    An observation named OBSERVED tells of each batch: last_ts (UTC µs), orders, fills,
    equity (of the first lane, in its currency), ended.
    """
    parts = tuple(blocks or (plan,))
    keys = F.array(*map(F.lit, range(len(parts))))
    folder = _folder(plan, Shipped(parts, modules))
    events = (
        packs.withColumn(_BLOCK, F.lit(0) if len(parts) == 1 else F.explode(keys))
        .groupBy(_BLOCK)
        .applyInPandasWithState(folder, _CODED, _STATE, "append", GroupStateTimeout.NoTimeout)
    )
    return _decoded(events.observe(OBSERVED, *_observations(plan)), plan)


Folder = Callable[[tuple[Any, ...], Iterator[pd.DataFrame], "GroupState"], Iterator[pd.DataFrame]]


def _folder(plan: Plan, shipped: Shipped[Sequence[Plan]]) -> Folder:
    """Return the function that Spark calls once for each block and batch."""
    numbers = {lane.name: number for number, lane in enumerate(plan.lanes)}
    identity, symbols = plan.identity, len(plan.symbols)
    currencies = plan.currencies

    def fold(
        key: tuple[Any, ...], frames: Iterator[pd.DataFrame], state: GroupState
    ) -> Iterator[pd.DataFrame]:
        program = _program(identity, int(key[0]), shipped.value)
        codes = _codes_of(program.plan, numbers, currencies)
        block = decode(bytes(state.get[0]), program) if state.exists else open_block(program)
        packs = (pack for frame in frames for pack in parts_of(frame))
        size = max(ROWS_AT_ONCE, SLICES_AT_ONCE * symbols)
        for rows in portions(packs, size):
            block, events = step(program, block, rows)
            if key[0]:
                # Every block reads the same rows; the first one tells what became of them.
                events = _without_audit(events)
            yield _frame(_renumbered(events, *codes))
        state.update((encode(block, program),))
        release_unused()

    return fold


_programs: dict[tuple[str, int, int], Program] = {}


def _program(identity: str, block: int, parts: Sequence[Plan]) -> Program:
    """Return a part of a plan compiled, once in a worker."""
    key = (identity, len(parts), block)
    if key not in _programs:
        _programs[key] = compile_plan(parts[block])
    return _programs[key]


def _without_audit(events: Events) -> Events:
    return events.take(events.lane >= 0)


Codes = NDArray[np.int32]


def _codes_of(
    part: Plan, numbers: Mapping[str, int], currencies: Sequence[str]
) -> tuple[Codes, Codes]:
    """Return the plan's codes of a part's lanes and currencies; the last entry is for -1."""
    lanes = [numbers[lane.name] for lane in part.lanes]
    codes = [currencies.index(currency) for currency in part.currencies]
    return np.array([*lanes, -1], np.int32), np.array([*codes, -1], np.int32)


def _renumbered(events: Events, lanes: Codes, currencies: Codes) -> Events:
    records = events.records.copy()
    records["lane"] = lanes[events.lane]
    records["currency"] = currencies[events.currency]
    return Events(records, events.texts)


def _frame(events: Events) -> pd.DataFrame:
    columns = {name: getattr(events, name) for name in REGISTRY.names}
    texts = np.array([*events.texts, None], object)  # the last one for -1
    columns[_TEXT] = texts[events.text]
    return pd.DataFrame(columns, copy=False)


def _observations(plan: Plan) -> list[Column]:
    kind = F.col("kind")
    equity = (kind == int(Kind.EQUITY)) & (F.col("lane") == 0)
    minor_units = 10.0 ** plan.lanes[0].broker.minor_digits
    return [
        F.max(F.when(equity, F.col("ts"))).alias("last_ts"),
        F.count(F.when(kind == int(Kind.ORDER), 1)).alias("orders"),
        F.count(F.when(kind == int(Kind.FILL), 1)).alias("fills"),
        F.count(F.when(kind == int(Kind.DISABLED), 1)).alias("disabled"),
        (F.max_by("equity", F.when(equity, F.col("ts"))) / minor_units).alias("equity"),
        (F.count(F.when(kind == int(Kind.END), 1)) > 0).alias("ended"),
    ]


def _decoded(events: DataFrame, plan: Plan) -> DataFrame:
    vocabulary = plan.vocabulary
    columns = []
    for field in REGISTRY.fields:
        column = F.col(field.name)
        if field.words and field.words != _TEXT:
            texts, first = vocabulary[field.words]
            words = F.array(*(F.lit(text).cast("string") for text in texts))
            column = F.get(words, column - first)
        elif field.name == "ts":
            column = F.timestamp_micros(column)
        elif field.is_float:
            column = F.nanvl(column, F.lit(None).cast("double"))
        elif not field.words:
            column = F.nullif(column, F.lit(int(field.null)))
        columns.append(column.alias(field.name))
    return events.select(*columns)
