"""What a failure of Spark comes down to: one of our own errors, in one line.

A failed query carries a Java stack trace: a chain of causes, in which the first is Spark's own
summary with the query's plan, and the telling one stands further down, often with the traceback of
a Python worker in its message. The chain is taken from the text that the error brought along, so
it can also be read when the JVM is gone.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from py4j.protocol import Py4JError

from streambt_spark import errors
from streambt_spark.errors import (
    DataError,
    OutOfSpace,
    RunError,
    RunLost,
    SetupError,
    StateError,
    StoreConflict,
    StoreError,
    StoreUnavailable,
    StrategyError,
    StreambtError,
)

AGAIN = "run the same command to resume"
ANEW = "run it again, with --out DIR to be able to resume"

_CAUSE = re.compile(r"\s*(?:Caused by: )?((?:[a-z_]\w*\.)+[A-Z][\w.$]*)(?:: (.*))?$")
_FRAME = re.compile(r"\s+(?:at \S+\(|\.\.\. \d+ more)")
_PLAN = "=== Streaming Query ==="
_TRACEBACK = "Traceback (most recent call last):"
_RAISED = re.compile(r"([A-Za-z_][\w.]*)(?:: (.*))?$", re.DOTALL)
_PLACE = re.compile(r'File "([^"]*)", line (\d+)')
_STATE_CODE = re.compile(r"\s*SQLSTATE: \w{5}\s*$")
_PATH = re.compile(
    r"(?:file:/*(?=/)|(?=s3a?://)|(?<![\w/:])(?=/\w))(\S*?)(?=[.,;:)\]'\"]*(?:\s|$))"
)
_LONGEST = 400


@dataclass(frozen=True, slots=True)
class Cause:
    """One link of a chain: a Java class, what it says, and where it was thrown."""

    kind: str
    text: str
    frames: str

    @property
    def name(self) -> str:
        """The class without its package."""
        return self.kind.rpartition(".")[2].rpartition("$")[2]

    @property
    def line(self) -> str:
        """What it says, in one line that is not long."""
        return " ".join(_STATE_CODE.sub("", self.text).split())[:_LONGEST]


def failure(error: BaseException) -> StreambtError:
    """Return what to raise for an error of Spark, of the way to its JVM, or of a Python worker."""
    if isinstance(error, StreambtError):
        return error
    chain = causes(_trace(error))
    for link in reversed(chain):
        if (raised := _raised_in_python(link)) is not None:
            return raised
    for link in reversed(chain):
        for applies, told in _RULES:
            if applies(link):
                return told(link)
    if not chain and is_disconnected(error):
        return lost("Spark's Java process has ended")
    return RunError(f"the streaming job failed: {_telling(chain, error)}")


def lost(what: str) -> RunLost:
    """Return the error of a run whose processes have ended under it."""
    return RunLost(f"{what}; {AGAIN}")


def of_no_folder(error: StreambtError) -> StreambtError:
    """Return the error of a run that leaves nothing to resume, without the advice to do so."""
    return type(error)(str(error).replace(AGAIN, ANEW), **error.details)


def is_disconnected(error: BaseException) -> bool:
    """Return whether an error is that of a connection to a JVM which is not there any more."""
    return isinstance(error, Py4JError | ConnectionError | EOFError) and not _trace(error)


def causes(trace: str) -> list[Cause]:
    """Return the chain of a Java stack trace, outermost first, without the query's plan."""
    found: list[tuple[str, list[str], list[str]]] = []
    for line in trace.splitlines():
        begins = not found or bool(found[-1][2]) or line.lstrip().startswith("Caused by: ")
        if _FRAME.match(line):
            if found:
                found[-1][2].append(line.strip())
        elif begins and (match := _CAUSE.match(line)):
            found.append((match[1], [match[2] or ""], []))
        elif found and not found[-1][2]:
            found[-1][1].append(line)
    return [
        Cause(kind, "\n".join(text).partition(_PLAN)[0].strip(), "\n".join(frames))
        for kind, text, frames in found
    ]


def _trace(error: BaseException) -> str:
    trace = getattr(error, "_stackTrace", None)  # of PySpark's own errors
    if trace:
        return str(trace)
    if getattr(error, "java_exception", None) is not None:  # of Py4J's
        return str(error).partition("\n: ")[2]
    return ""


def _raised_in_python(link: Cause) -> StreambtError | None:
    """Return what a Python worker raised: our own error as it was, another one as the user's."""
    if _TRACEBACK not in link.text:
        return None
    text = _STATE_CODE.sub("", link.text.rpartition(_TRACEBACK)[2])
    lines = text.strip("\n").splitlines()
    first = next((i for i, line in enumerate(lines) if line[:1].strip()), None)
    raised = None if first is None else _RAISED.match("\n".join(lines[first:]))
    if raised is None:
        return None
    kind, said = raised[1], " ".join((raised[2] or "").split())
    ours = getattr(errors, kind.rpartition(".")[2], None)
    if kind.startswith(f"{errors.__name__}.") and isinstance(ours, type):
        return ours(said)  # type: ignore[no-any-return]
    places = _PLACE.findall(text)
    where = " ({}, line {})".format(*places[-1]) if places else ""
    return StrategyError(f"a Python worker raised {kind}{f': {said}' if said else ''}{where}")


def _telling(chain: Sequence[Cause], error: BaseException) -> str:
    """Return the innermost cause that says something."""
    for link in reversed(chain):
        if link.line:
            return f"{link.name}: {link.line}"
    lines = str(error).partition(_PLAN)[0].split()
    return " ".join((type(error).__name__ + ":", *lines))[:_LONGEST]


Applies = Callable[[Cause], bool]
Told = Callable[[Cause], StreambtError]


def _says(pattern: str) -> Applies:
    """Return whether a cause's class and text match."""
    compiled = re.compile(pattern, re.DOTALL)
    return lambda link: bool(compiled.search(f"{link.kind}: {link.text}"))


def _path(link: Cause) -> str:
    """Return the file that a cause names."""
    found = _PATH.search(link.text)
    return found[1] if found else ""


def _is_worker(link: Cause) -> bool:
    gone = (
        "EOFException",
        "SocketException",
        "ClosedChannelException",
        "AsynchronousCloseException",
    )
    python = re.search(r"org\.apache\.spark\.(?:sql\.execution|api)\.python", link.frames)
    return "Python worker exited unexpectedly" in link.text or (
        bool(python) and (link.name in gone or "Broken pipe" in link.text)
    )


def _damaged(link: Cause) -> StreambtError:
    where, said = _path(link), link.line.partition(" of HDFSStateStoreProvider")[0]
    kind = StoreError if "/_delta_log/" in where or where.endswith(".parquet") else StateError
    return kind(
        f"{where or 'the saved state of the checkpoint'} is damaged: {said}; put it back from a "
        "copy, or delete the checkpoint and the ledger to start again",
        address=where,
    )


_RULES: tuple[tuple[Applies, Told], ...] = (
    (
        _says(r"No space left on device|Disk quota exceeded|not enough space"),
        lambda link: OutOfSpace(
            f"no space is left on the disk ({link.line}); free some, then {AGAIN}"
        ),
    ),
    (
        _says(r"OutOfMemoryError|SparkOutOfMemoryError|CANNOT_ACQUIRE_MEMORY"),
        lambda link: SetupError(
            f"Spark ran out of memory ({link.line}); use fewer --slices-per-batch, or give it more "
            "(spark.driver.memory)"
        ),
    ),
    (
        _says(
            r"DELTA_CONCURRENT|Concurrent\w+Exception: .*(?:stream|transaction|append)"
            r"|CONCURRENT_(?:STREAM_LOG_UPDATE|QUERY)"
        ),
        lambda _: StoreConflict(
            "another run writes the same ledger or checkpoint; stop one of the two, then " + AGAIN
        ),
    ),
    (_is_worker, lambda _: lost("a Python worker of Spark has ended, killed or crashed")),
    (
        _says(r"OffsetOutOfRange|data may have been lost|KAFKA_DATA_LOSS|DATA_LOSS"),
        lambda link: DataError(
            f"the topic no longer has messages that the run has not read ({link.line}); what is "
            "missing there would be missing in the ledger; choose another --out to begin anew"
        ),
    ),
    (
        _says(r"kafka\S*\.(?:Timeout|Network|Disconnect|BrokerNotAvailable)\w*Exception"),
        lambda link: StoreUnavailable(f"Kafka does not answer ({link.line}); {AGAIN}"),
    ),
    (
        _says(r"UnknownTopicOrPartition"),
        lambda link: StoreUnavailable(f"the topic is not there ({link.line}); {AGAIN}"),
    ),
    (
        _says(r"software\.amazon\.awssdk|com\.amazonaws|fs\.s3a\."),
        lambda link: StoreUnavailable(
            f"S3 failed ({link.line}); check AWS_ENDPOINT_URL, the bucket and the access key's "
            f"rights, then {AGAIN}"
        ),
    ),
    (
        _says(
            r"CANNOT_LOAD_STATE_STORE|FAILED_TO_LOAD|STATE_STORE|ChecksumException"
            r"|STREAMING_CHECKPOINT|Malformed log|Incomplete log file"
        ),
        _damaged,
    ),
    (
        _says(r"DELTA_(?:LOG|MISSING|FILE_NOT|TRUNCATED|STATE|VERSIONS|SCHEMA_NOT)"),
        lambda link: StoreError(
            f"the ledger's table is damaged: {link.line}; put it back from a copy, or delete the "
            "ledger and the checkpoint to start again"
        ),
    ),
)
