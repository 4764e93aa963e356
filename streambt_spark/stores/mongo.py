"""MongoDB as the system of record: bars by natural key, their revisions, and the quarantine."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from operator import itemgetter
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar
from urllib.parse import unquote

import numpy as np
import pyarrow as pa
from bson import ObjectId
from bson.codec_options import CodecOptions
from pymongo import ASCENDING, InsertOne, MongoClient, UpdateOne
from pymongo.errors import (
    AutoReconnect,
    BulkWriteError,
    ConfigurationError,
    ConnectionFailure,
    DuplicateKeyError,
    InvalidURI,
    PyMongoError,
    WTimeoutError,
)
from pymongo.uri_parser import parse_uri
from pymongo.write_concern import WriteConcern
from tenacity import (
    Retrying,
    retry_if_exception_type,
    stop_after_attempt,
    stop_after_delay,
    wait_random_exponential,
)

from streambt_spark.core.market.bars import FIELDS, SYMBOL, Bars, interval_us
from streambt_spark.errors import (
    ConfigError,
    DataError,
    StoreConflict,
    StoreError,
    StoreUnavailable,
)
from streambt_spark.masking import MASK, mask_address, slash_in_login
from streambt_spark.stores.intake import Checked, Counts
from streambt_spark.stores.tables import BAR_SCHEMA, TIMESTAMP

if TYPE_CHECKING:
    from pymongo.collection import Collection as MongoCollection
    from pymongo.database import Database

    from streambt_spark.stores.intake import Intake

T = TypeVar("T")
Document = dict[str, Any]
_Row = tuple[float, ...]
_Key = tuple[str, int]

_CHUNK_ROWS = 20_000
_LONGEST_SECONDS = 86_400
_MOST_HELD = 100_000
_ATTEMPTS_AT_ONCE = 100
"""How often a change that another writer has overtaken is tried: each time one of them wins."""

_PAGE_ROWS = 50_000
_ATTEMPTS = 8
_DUPLICATE_KEY = 11000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_row: Callable[[Document], _Row] = itemgetter(*FIELDS)
"""Return the values of a bar or of an old state."""

_TRANSIENT = (AutoReconnect, ConnectionFailure, WTimeoutError)


class BarStore:
    """Bars in a MongoDB database; a context manager.

    `timeout` bounds, in seconds, how long an operation is tried again before StoreUnavailable.
    Collections: `bars` (one document for each symbol, interval and ts, with what it was before in
    `past`, so that a revision is one change of one document), `quarantine` (refused rows) and
    `snapshots` (the catalogue). Times are int64 UTC microseconds, beside a date for the eye, which
    MongoDB keeps to the millisecond.
    """

    def __init__(self, address: str, database: str = "streambt", *, timeout: float = 20.0) -> None:
        if not 0 < timeout <= _LONGEST_SECONDS:
            raise ConfigError(
                f"the timeout is {timeout}; expected seconds above 0, at most {_LONGEST_SECONDS}",
                option="--timeout",
            )
        self._timeout = timeout
        self._address = mask_address(address)
        self._secret = _password(address)
        milliseconds = max(int(timeout * 1000 / 4), 100)
        try:
            _require_login(address)
            self._client: MongoClient[Document] = MongoClient(
                address,
                serverSelectionTimeoutMS=milliseconds,
                connectTimeoutMS=milliseconds,
                socketTimeoutMS=max(int(timeout * 1000), 1000),
                appname="streambt",
            )
        except (InvalidURI, ConfigurationError, ValueError) as error:
            raise _not_understood(address, error) from None
        concern = WriteConcern(w="majority", j=True, wtimeout=max(int(timeout * 1000), 1000))
        self._database: Database[Document] = self._client.get_database(
            database, CodecOptions(tz_aware=True), write_concern=concern
        )

    def __enter__(self) -> Self:
        try:
            self.attempt(lambda: self._client.admin.command("ping"))
            self._make_indexes()
        except BaseException:
            self._client.close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._client.close()

    def collection(self, name: str) -> MongoCollection[Document]:
        """Return a collection of this database, with its write concern."""
        return self._database[name]

    def attempt(self, action: Callable[[], T]) -> T:
        """Do an operation, again and again while the server cannot be reached.

        Raises StoreUnavailable after at most eight attempts within the timeout, StoreError where
        the server refuses; pymongo's own errors about existing keys pass. The action must be safe
        to repeat.
        """
        retrying = Retrying(
            retry=retry_if_exception_type(_TRANSIENT),
            stop=stop_after_attempt(_ATTEMPTS) | stop_after_delay(self._timeout * 0.75),
            wait=wait_random_exponential(multiplier=0.2, max=2),
            reraise=True,
        )
        try:
            return retrying(action)
        except _TRANSIENT as error:
            tries = retrying.statistics.get("attempt_number", 1)
            raise StoreUnavailable(
                f"MongoDB at {self._address} did not answer in {tries} tries: "
                f"{self._clean(error)}; start it or check the address"
            ) from None
        except (BulkWriteError, DuplicateKeyError):
            raise
        except PyMongoError as error:
            raise StoreError(f"MongoDB at {self._address} refused: {self._clean(error)}") from None

    def ingest(self, source: Iterable[Checked] | Intake) -> Counts:
        """Store checked rows and return what became of them; memory stays bounded.

        A bar that is stored already is a duplicate; one with other values becomes the current
        revision, and the old one is kept with it. Several may ingest at once. Doing it again after
        a crash ends in the same store.
        """
        from streambt_spark.stores.intake import Intake

        if isinstance(source, Intake):
            row = np.arange(1, len(source.bars) + 1)
            source = [Checked("", source.bars, row, source.quarantine, True)]
        counts = Counts()
        held: dict[_Key, list[_Row]] = {}
        interval = ""
        for checked in source:
            interval = checked.bars.interval
            for start in range(0, len(checked.bars), _CHUNK_ROWS):
                chains = _chains(checked.bars.take(slice(start, start + _CHUNK_ROWS)))
                counts += self._take_in(chains, interval, held)
            counts += self._ingest_quarantine(checked)
            if len(held) > _MOST_HELD:
                counts += self._take_in(held, interval, None)
                held = {}
        return counts + self._take_in(held, interval, None) if held else counts

    def count(
        self,
        interval: str,
        symbols: Collection[str] | None = None,
        start: int | None = None,
        end: int | None = None,
    ) -> int:
        """Return how many bars there are with start ≤ ts < end (UTC µs)."""
        query = _query(interval, symbols, start, end)
        return self.attempt(lambda: self.collection("bars").count_documents(query))

    def symbols(self, interval: str) -> list[str]:
        """Return the sorted symbols that have bars of an interval."""
        query = _query(interval, None, None, None)
        return sorted(self.attempt(lambda: self.collection("bars").distinct("symbol", query)))

    def read(
        self,
        interval: str,
        symbols: Collection[str] | None = None,
        start: int | None = None,
        end: int | None = None,
    ) -> Iterator[pa.RecordBatch]:
        """Yield the bars with start ≤ ts < end (UTC µs) as BAR_SCHEMA, ordered by (ts, symbol)."""
        query = _query(interval, symbols, start, end)
        names = ("symbol", "ts", *FIELDS)
        projection = {"_id": 0, **dict.fromkeys(names, 1)}
        after = query
        while page := self.attempt(partial(self._page, after, projection)):
            columns: Document = {name: [document[name] for document in page] for name in names}
            yield _batch(columns, interval)
            last = page[-1]
            later = [
                {"ts": last["ts"], "symbol": {"$gt": last["symbol"]}},
                {"ts": {"$gt": last["ts"]}},
            ]
            after = {**query, "$or": later}
            if len(page) < _PAGE_ROWS:
                return

    def quarantined(self, interval: str | None = None) -> Iterator[Document]:
        """Yield the refused rows: source, row, symbol, ts, reason, raw, interval."""
        query = {} if interval is None else {"interval": interval}
        sort = [("source", ASCENDING), ("row", ASCENDING), ("_id", ASCENDING)]
        cursor = self.attempt(
            lambda: list(self.collection("quarantine").find(query, {"_id": 0}).sort(sort))
        )
        yield from cursor

    def revisions(self, symbol: str, interval: str, ts: int) -> list[Document]:
        """Return what a bar (ts in UTC µs) was before, oldest first, with revision numbers."""
        key = {"symbol": _symbol(symbol), "interval": interval, "ts": int(ts)}
        bar = self.attempt(lambda: self.collection("bars").find_one(key))
        names = ("revision", *FIELDS)
        return [{**key, **{n: old[n] for n in names}} for old in (bar or {}).get("past", ())]

    def _page(self, query: Document, projection: Document) -> list[Document]:
        cursor = self.collection("bars").find(query, projection)
        return list(cursor.sort([("ts", 1), ("symbol", 1)]).limit(_PAGE_ROWS))

    def _make_indexes(self) -> None:
        key = [("symbol", 1), ("interval", 1), ("ts", 1)]
        order = [("interval", 1), ("ts", 1), ("symbol", 1)]
        bars = self.collection("bars")
        version = [("name", 1), ("version", 1)]
        catalogue = self.collection("snapshots")
        self.attempt(lambda: bars.create_index(key, unique=True, name="natural_key"))
        self.attempt(lambda: bars.create_index(order, name="time_order"))
        self.attempt(lambda: catalogue.create_index(version, unique=True, name="natural_key"))

    def _take_in(
        self,
        chains: Mapping[_Key, list[_Row]],
        interval: str,
        held: dict[_Key, list[_Row]] | None,
    ) -> Counts:
        """Store the rows of each key, in order; what may be an old state again is `held` back."""
        counts = Counts()
        writer = ObjectId()
        for _ in range(_ATTEMPTS_AT_ONCE):
            stored = self._stored(chains, interval)
            if held is not None:
                chains = _hold_back(chains, stored, held)
                held = None
            steps = {key: _step(rows, stored.get(key)) for key, rows in chains.items()}
            fresh = {key: step for key, step in steps.items() if step.base is None}
            changed = {k: s for k, s in steps.items() if s.base is not None and s.revised}
            lost = self._insert(fresh, interval, writer) | self._change(changed, interval, writer)
            counts += _counts(step for key, step in steps.items() if key not in lost)
            if not lost:
                return counts
            chains = {key: chains[key] for key in lost}
        symbol, ts = next(iter(chains))
        raise StoreConflict(
            f"other writers changed {len(chains)} of the same bars all the time, the first is "
            f"{symbol} at {ts} µs; ingest again"
        )

    def _insert(self, steps: Mapping[_Key, _Step], interval: str, writer: ObjectId) -> set[_Key]:
        """Insert new bars and return the keys that another writer has taken meanwhile."""
        documents = [_document(key, interval, step, writer) for key, step in steps.items()]
        clashes = [documents[at] for at in self._bulk("bars", [InsertOne(d) for d in documents])]
        # After a lost reply the second attempt meets what the first one wrote: those are ours.
        return self._others({(d["symbol"], d["ts"]) for d in clashes}, interval, writer)

    def _change(self, steps: Mapping[_Key, _Step], interval: str, writer: ObjectId) -> set[_Key]:
        """Revise stored bars and return the keys that another writer has revised meanwhile."""
        updates = []
        for (symbol, ts), step in steps.items():
            match = {"symbol": symbol, "interval": interval, "ts": ts, "revision": step.base}
            old, new = _states(step, writer)
            updates.append(UpdateOne(match, {"$set": new, "$push": {"past": {"$each": old}}}))
        self._bulk("bars", updates)
        return self._others(steps.keys(), interval, writer)

    def _others(self, keys: Collection[_Key], interval: str, writer: ObjectId) -> set[_Key]:
        """Return which of the bars a writer has not written."""
        stored = self._stored(keys, interval)
        return {
            key
            for key in keys
            if all(state.get("by") != writer for state in (stored[key], *stored[key]["past"]))
        }

    def _stored(self, keys: Collection[_Key], interval: str) -> dict[_Key, Document]:
        """Return the stored bars of these keys."""
        if not keys:
            return {}
        times = sorted({ts for _, ts in keys})
        symbols = {symbol for symbol, _ in keys}
        query = _query(interval, symbols, times[0], times[-1] + 1)
        most = 4 * len(keys)
        bars = self.collection("bars")
        near = self.attempt(lambda: bars.count_documents(query, limit=most))
        if not near:
            return {}
        if near == most:  # the keys lie thinly among the stored bars
            query["ts"] = {"$in": times}
        documents = self.attempt(lambda: list(bars.find(query)))
        lookup = keys if isinstance(keys, dict | set) else set(keys)
        return {key: d for d in documents if (key := (d["symbol"], d["ts"])) in lookup}

    def _ingest_quarantine(self, checked: Checked) -> Counts:
        rows = checked.quarantine.select(["row", "symbol", "reason", "raw"]).to_pylist()
        times = checked.quarantine["ts"].cast(pa.int64()).to_pylist()
        interval = checked.bars.interval
        documents = []
        for row, ts in zip(rows, times, strict=True):
            text = "\n".join(
                map(str, (checked.where, interval, row["row"], row["reason"], row["raw"]))
            )
            key = hashlib.sha256(text.encode()).hexdigest()
            place = {"source": checked.where, "interval": interval}
            documents.append({"_id": key, **place, **row, "ts": ts})
        for start in range(0, len(documents), _CHUNK_ROWS):
            part = documents[start : start + _CHUNK_ROWS]
            self._bulk("quarantine", [InsertOne(document) for document in part])
        return Counts(read=len(rows), rejected=len(rows))

    def _bulk(self, name: str, writes: list[InsertOne[Document]] | list[UpdateOne]) -> list[int]:
        """Write unordered and return which writes met a key that exists."""
        if not writes:
            return []
        target = self.collection(name)
        try:
            self.attempt(lambda: target.bulk_write(writes, ordered=False))
        except BulkWriteError as error:
            details: Document = dict(error.details or {})
            errors = details.get("writeErrors", [])
            others = [e for e in errors if e["code"] != _DUPLICATE_KEY]
            others.extend(details.get("writeConcernErrors", []))
            if others:
                cause = self._clean(others[0].get("errmsg", others[0]))
                raise StoreError(f"MongoDB at {self._address} refused a write: {cause}") from None
            return [int(e["index"]) for e in errors]
        return []

    def _clean(self, error: object) -> str:
        return _cleaned(error, self._secret)


def servers_of(address: str) -> list[tuple[str, int | None]]:
    """Return the hosts and ports of an address; raises ConfigError where it is not understood."""
    try:
        _require_login(address)
        return list(parse_uri(address)["nodelist"])
    except (InvalidURI, ConfigurationError, ValueError) as error:
        raise _not_understood(address, error) from None


def _require_login(address: str) -> None:
    if slash_in_login(address):
        raise InvalidURI("a / in the user or password must be written %2F")


def _not_understood(address: str, error: Exception) -> ConfigError:
    return ConfigError(
        f"MongoDB address {mask_address(address)} is not understood: "
        f"{_cleaned(error, _password(address))}; write mongodb://host:27017"
    )


def _cleaned(error: object, secret: str) -> str:
    text = " ".join(str(error).split()).partition(" (configured timeouts")[0][:300]
    return text.replace(secret, MASK) if secret else text


def _password(address: str) -> str:
    """Return the password of an address that has no / in its login."""
    match = re.search(r"://[^:/@]*:([^/]*)@", address)
    return unquote(match[1]) if match else ""


def _symbol(symbol: str) -> str:
    if not isinstance(symbol, str) or not SYMBOL.fullmatch(symbol):
        raise DataError(f"symbol {str(symbol)[:40]!r} is not valid; write one such as AAPL")
    return symbol


def _query(
    interval: str, symbols: Collection[str] | None, start: int | None, end: int | None
) -> Document:
    interval_us(interval)
    query: Document = {"interval": interval}
    if symbols is not None:
        query["symbol"] = {"$in": sorted(_symbol(symbol) for symbol in symbols)}
    bounds = {"$gte": start, "$lt": end}
    if limits := {op: int(ts) for op, ts in bounds.items() if ts is not None}:
        query["ts"] = limits
    return query


def _batch(columns: Document, interval: str) -> pa.RecordBatch:
    rows = len(columns["ts"])
    arrays = [
        pa.array(columns["symbol"], pa.string()),
        pa.array(columns["ts"], pa.int64()).cast(TIMESTAMP),
        *(pa.array(columns[name], pa.float64()) for name in FIELDS),
        pa.repeat(interval, rows),
        pa.nulls(rows, pa.int64()),
    ]
    return pa.RecordBatch.from_arrays(arrays, schema=BAR_SCHEMA)


def _chains(bars: Bars) -> dict[_Key, list[_Row]]:
    """Return key → its values in order of arrival, for rows in order of arrival."""
    keys = zip((bars.symbols[i] for i in bars.code.tolist()), bars.ts.tolist(), strict=True)
    values = zip(*(getattr(bars, name).tolist() for name in FIELDS), strict=True)
    chains: dict[_Key, list[_Row]] = {}
    for key, row in zip(keys, values, strict=True):
        chains.setdefault(key, []).append(row)
    return chains


@dataclass(frozen=True, slots=True)
class _Step:
    """What rows of one key do to its bar: `states` are its values from the stored ones on.

    `base` is the stored revision, None where there is no bar; `rows` is how many rows there were.
    """

    base: int | None
    states: list[_Row]
    stored: Document | None
    rows: int

    @property
    def revised(self) -> int:
        """How many rows replaced an earlier one."""
        return len(self.states) - 1


def _counts(steps: Iterable[_Step]) -> Counts:
    """Return what became of the rows."""
    read = added = revised = 0
    for step in steps:
        read += step.rows
        added += step.base is None
        revised += step.revised
    accepted = added + revised
    return Counts(read=read, accepted=accepted, duplicate=read - accepted, revised=revised)


def _step(rows: list[_Row], stored: Document | None) -> _Step:
    """Return what rows in order of arrival make of a stored bar.

    Where the last of them is what is stored, and it or the past has the others, all of them were
    seen before.
    """
    if stored is None:
        states = rows[:1]
    else:
        states = [_row(stored)]
        if rows[-1] == states[0] and (len(rows) == 1 or _known(stored).issuperset(rows)):
            return _Step(stored["revision"], states, stored, len(rows))
    for row in rows:
        if row != states[-1]:
            states.append(row)
    return _Step(None if stored is None else stored["revision"], states, stored, len(rows))


def _hold_back(
    chains: Mapping[_Key, list[_Row]],
    stored: Mapping[_Key, Document],
    held: dict[_Key, list[_Row]],
) -> dict[_Key, list[_Row]]:
    """Move to `held` the rows whose meaning the rest of the source decides; return the others.

    They are old states of their bar. Alone they restore it; but where the source comes back to the
    current state later, they are its history, which was taken in before.
    """
    rest = {}
    for key, rows in chains.items():
        bar = stored.get(key)
        if key in held:
            held[key].extend(rows)
        elif bar is not None and rows[-1] != _row(bar) and _known(bar).issuperset(rows):
            held[key] = list(rows)
        else:
            rest[key] = rows
    return rest


def _known(bar: Document) -> set[_Row]:
    return {_row(bar), *map(_row, bar["past"])}


def _document(key: _Key, interval: str, step: _Step, writer: ObjectId) -> Document:
    symbol, ts = key
    old, new = _states(step, writer)
    return {
        "symbol": symbol,
        "interval": interval,
        "ts": ts,
        "at": _EPOCH + timedelta(microseconds=ts),
        **new,
        "past": old,
    }


def _states(step: _Step, writer: ObjectId) -> tuple[list[Document], Document]:
    """Return what joins the bar's past, and what it becomes."""
    first = step.base or 0
    states: list[Document] = [
        {"revision": first + n, **dict(zip(FIELDS, row, strict=True)), "by": writer}
        for n, row in enumerate(step.states)
    ]
    if step.stored is not None:
        states[0]["by"] = step.stored["by"]
    return states[:-1], states[-1]
