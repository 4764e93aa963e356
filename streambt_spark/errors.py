"""Every error a user can meet, in one tree.

StreambtError                exit 1
├── ConfigError              exit 2   an option, a profile or a setting is wrong
├── GraphError               exit 2   the strategy's graph cannot be built
│   ├── UnknownFunction               no such indicator; says what was meant
│   ├── UnknownColumn                 no such column or output
│   ├── BadParameter                  a function refuses its parameters
│   ├── CycleError                    an indicator depends on itself
│   └── LookAheadError                a function reads bars after the one it answers for
├── StrategyError            exit 1   the user's own code raised
├── DataError                exit 65  the bars cannot be used
│   ├── SourceNotFound                no such file, table or snapshot
│   ├── BadColumns                    columns are missing or not understood
│   ├── BadTime                       a time column cannot be parsed
│   └── NoData                        nothing to read, or nothing valid in it
├── StoreError               exit 75  a store failed; trying again later may help
│   └── StoreUnavailable              the store could not be reached in time
├── RunError                 exit 1   a run cannot go on
│   ├── CheckpointMismatch            the checkpoint belongs to another run
│   ├── StateError                    saved state is damaged or of another version
│   └── OutputError                   results cannot be written
└── SetupError               exit 69  this machine lacks something
    ├── JavaMissing                   no usable Java
    └── ExtraMissing                  an optional dependency is not installed

A message says what went wrong, where, what was found against what was expected, and the next step.
"""

from __future__ import annotations

import difflib
from collections.abc import Collection


class StreambtError(Exception):
    """The root of all errors raised on purpose; `exit_code` is what the CLI exits with."""

    exit_code: int = 1


class ConfigError(StreambtError):
    """An option, a profile or a setting is wrong."""

    exit_code = 2


class GraphError(StreambtError):
    """The strategy's graph cannot be built."""

    exit_code = 2


class UnknownFunction(GraphError):
    """No indicator function of that name exists."""


class UnknownColumn(GraphError):
    """No column or output of that name exists."""


class BadParameter(GraphError):
    """A function or a setting refuses a parameter."""


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


class StoreError(StreambtError):
    """A store failed; trying again later may help."""

    exit_code = 75


class StoreUnavailable(StoreError):
    """The store could not be reached within its retries."""


class RunError(StreambtError):
    """A run cannot start or go on."""


class CheckpointMismatch(RunError):
    """The checkpoint belongs to another run; nothing was written."""


class StateError(RunError):
    """Saved state is damaged or of another version."""


class LedgerDamaged(DataError):
    """A ledger lacks events, or holds one twice."""


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
