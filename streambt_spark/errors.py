"""Every error a user can meet, in one tree.

StreambtError                exit 1
├── ConfigError              exit 2   an option, a profile or a setting is wrong
├── BadParameter             exit 2   a function, an account or an allocation refuses an argument
├── GraphError               exit 2   the strategy's graph cannot be built
│   ├── UnknownFunction               no such indicator; says what was meant
│   ├── UnknownColumn                 no such column or output
│   ├── CycleError                    an indicator depends on itself
│   └── LookAheadError                a function reads bars after the one it answers for
├── StrategyError            exit 1   the user's own code raised
├── DataError                exit 65  the bars cannot be used
│   ├── SourceNotFound                no such file, table or snapshot
│   ├── BadColumns                    columns are missing or not understood
│   ├── BadTime                       a time column cannot be parsed
│   ├── NoData                        nothing to read, or nothing valid in it
│   └── LedgerDamaged                 a ledger lacks events, or holds one twice
├── StoreError               exit 74  a store refuses or is damaged
├── Transient                exit 75  the same call may succeed later
│   ├── StoreUnavailable              the store could not be reached in time; a StoreError too
│   ├── StoreConflict                 another writer was faster; a StoreError too
│   ├── RunLost                       a run's processes ended under it; a RunError too
│   └── OutOfSpace                    the disk is full; a RunError too
├── RunError                 exit 1   a run cannot start or go on
│   ├── CheckpointMismatch            the checkpoint belongs to another run
│   ├── StateError                    saved state is damaged or of another version
│   └── OutputError                   results cannot be written
└── SetupError               exit 69  this machine lacks something
    ├── JavaMissing                   no usable Java
    └── ExtraMissing                  an optional dependency is not installed

A message says what went wrong, where, what was found against what was expected, and the next step.
What it is about is kept on the error as well: `error.option`, `error.symbol` and the other names of
Details, None where the error is not about one. Whoever starts runs tries the same call again where
an error is Transient, and at no other.
"""

from __future__ import annotations

import difflib
from collections.abc import Collection
from typing import Any, ClassVar, Self, TypedDict, Unpack

__all__ = [
    "BadColumns",
    "BadParameter",
    "BadTime",
    "CheckpointMismatch",
    "ConfigError",
    "CycleError",
    "DataError",
    "Details",
    "ExtraMissing",
    "GraphError",
    "JavaMissing",
    "LedgerDamaged",
    "LookAheadError",
    "NoData",
    "OutOfSpace",
    "OutputError",
    "RunError",
    "RunLost",
    "SetupError",
    "SourceNotFound",
    "StateError",
    "StoreConflict",
    "StoreError",
    "StoreUnavailable",
    "StrategyError",
    "StreambtError",
    "Transient",
    "UnknownColumn",
    "UnknownFunction",
    "did_you_mean",
]


class Details(TypedDict, total=False):
    """What an error can be about."""

    option: str
    """An option, a setting or a variable, as it is written: --cash, STREAMBT_BROKER_CASH."""
    function: str
    """An indicator's or an allocation's function."""
    parameter: str
    """A parameter of a function."""
    column: str
    """A column of a source, or an output of an indicator."""
    symbol: str
    ts: int
    """UTC microseconds."""
    row: int
    """A row of a source, from 1."""
    address: str
    """A file, a folder, a table, a topic or a server, without its login."""
    line: int
    """A line of the file at `address`."""
    lane: str
    """A strategy of a plan."""


class StreambtError(Exception):
    """The root of all errors raised on purpose; `exit_code` is what the CLI exits with.

    Every class takes a message and Details by keyword, so that errors survive pickling, and one can
    be raised again with more said (`within`).
    """

    exit_code: ClassVar[int] = 1

    def __init__(self, message: str = "", **details: Unpack[Details]) -> None:
        unknown = sorted(details.keys() - Details.__annotations__.keys())
        if unknown:
            known = ", ".join(Details.__annotations__)
            raise TypeError(f"an error is about {known}, not {unknown}")
        super().__init__(message)
        self.details = details

    def __getattr__(self, name: str) -> Any:
        if name in Details.__annotations__:
            return vars(self).get("details", {}).get(name)
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    def within(self, where: str, **details: Unpack[Details]) -> Self:
        """Return the same error told from a place: `sma.py:12: …`."""
        known: Details = {**self.details, **details}
        return type(self)(f"{where}: {self}", **known)


class ConfigError(StreambtError):
    """An option, a profile or a setting is wrong."""

    exit_code = 2


class BadParameter(StreambtError):
    """A function, an account or an allocation refuses an argument."""

    exit_code = 2


class GraphError(StreambtError):
    """The strategy's graph cannot be built."""

    exit_code = 2


class UnknownFunction(GraphError):
    """No indicator function of that name exists."""


class UnknownColumn(GraphError):
    """No column or output of that name exists."""


class CycleError(GraphError):
    """An indicator depends on itself."""


class LookAheadError(GraphError):
    """A function's value at a bar changes when later bars are cut off."""


class StrategyError(StreambtError):
    """The user's own code raised."""


class DataError(StreambtError):
    """The bars cannot be used."""

    exit_code = 65


class SourceNotFound(DataError):
    """No such file, table or snapshot."""


class BadColumns(DataError):
    """Columns are missing or not understood."""


class BadTime(DataError):
    """A time column cannot be parsed."""


class NoData(DataError):
    """There is nothing to read, or nothing valid in it."""


class LedgerDamaged(DataError):
    """A ledger lacks events, or holds one twice."""


class StoreError(StreambtError):
    """A store refuses or is damaged; the same call fails again."""

    exit_code = 74


class Transient(StreambtError):
    """What was needed was not there at this moment; the same call may succeed later."""

    exit_code = 75


class StoreUnavailable(Transient, StoreError):
    """The store could not be reached within its retries."""


class StoreConflict(Transient, StoreError):
    """Another writer changed the same things meanwhile."""


class RunError(StreambtError):
    """A run cannot start or go on."""


class RunLost(Transient, RunError):
    """A run's processes, Java's or Python's, ended under it; the same command resumes it."""


class OutOfSpace(Transient, RunError):
    """The disk is full; what was committed stays, and the same command resumes."""


class CheckpointMismatch(RunError):
    """The checkpoint belongs to another run; nothing was written."""


class StateError(RunError):
    """Saved state is damaged or of another version."""


class OutputError(RunError):
    """Results cannot be written."""


class SetupError(StreambtError):
    """This machine lacks something; the message has the command that fixes it."""

    exit_code = 69


class JavaMissing(SetupError):
    """No usable Java was found."""


class ExtraMissing(SetupError):
    """An optional dependency is not installed."""


def did_you_mean(name: str, known: Collection[str]) -> str:
    """Return ' (did you mean X?)' for the closest known name, or an empty string."""
    close = difflib.get_close_matches(name.upper(), {k.upper(): k for k in known}, n=1)
    if not close:
        return ""
    match = next(k for k in known if k.upper() == close[0])
    return f" (did you mean {match}?)"
