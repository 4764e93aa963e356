"""What Spark says of a failure, in pages, comes down to one line that tells what to do."""

from __future__ import annotations

import pytest
from py4j.protocol import Py4JNetworkError

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
from streambt_spark.spark.failures import causes, failure

PLAN = """
=== Streaming Query ===
Identifier: streambt-ab [id = 11f86c5a, runId = 93274021]
Current Available Offsets: {}

Current State: ACTIVE
Thread State: RUNNABLE

Logical Plan:
~WriteToMicroBatchDataSourceV1 DeltaSink[/out/ledger], Append
+- ~StreamingDataSourceV2ScanRelation[rows#0, count#1L] replay

\tat org.apache.spark.sql.execution.streaming.runtime.StreamExecution.run(StreamExecution.scala:1)
"""
WORKER = (
    "\tat org.apache.spark.api.python.BasePythonRunner$ReaderIterator.read(PythonRunner.scala:1)"
)
SOURCE = (
    "\tat org.apache.spark.sql.execution.python.streaming.PythonStreamingSourceRunner.latestOffset"
    "(PythonStreamingSourceRunner.scala:235)"
)
TRACEBACK = """[PYTHON_EXCEPTION] An exception was thrown from the Python worker: Traceback (most \
recent call last):
  File "/app/sma.py", line 4, in inner
    raise ValueError("boom at 350")
ValueError: boom at 350

The above exception was the direct cause of the following exception:

Traceback (most recent call last):
  File "/app/operator.py", line 108, in fold
    block, events = step(part, block, rows)
                    ^^^^^^^^^^^^^^^^^^^^^^^
{raised}
 SQLSTATE: 38000"""


class Failed(Exception):
    """An error as PySpark captures it: what counts is the trace it brings along."""

    def __init__(self, *chain: str) -> None:
        summary = "org.apache.spark.sql.streaming.StreamingQueryException: it failed"
        causes = "".join(f"Caused by: {link}\n\tat a.B.c(D.scala:1)\n" for link in chain)
        self._stackTrace = f"{summary}{PLAN}{causes}\t... 1 more\n"
        super().__init__(f"[STREAM_FAILED] it failed{PLAN}")


def test_a_chain_is_read_without_the_plan() -> None:
    """Classes and messages, outermost first; messages may have lines, and colons in them."""
    found = causes(Failed("java.io.IOException: first: line\nsecond", "a.b.C$D")._stackTrace)
    assert [(link.name, link.text) for link in found] == [
        ("StreamingQueryException", "it failed"),
        ("IOException", "first: line\nsecond"),
        ("D", ""),
    ]
    assert "StreamExecution.scala" in found[0].frames


def test_our_own_error_keeps_its_class_and_text() -> None:
    """What a worker raised is what the local engine would have raised."""
    raised = "streambt_spark.errors.StrategyError: late raised ValueError: boom at 350 (line 4)"
    text = TRACEBACK.format(raised=raised)
    told = failure(Failed(f"org.apache.spark.api.python.PythonException: {text}"))
    assert type(told) is StrategyError
    assert str(told) == "late raised ValueError: boom at 350 (line 4)"
    text = TRACEBACK.format(raised="streambt_spark.errors.DataError: bars.parquet was changed")
    told = failure(Failed(f"org.apache.spark.api.python.PythonException: {text}"))
    assert (type(told), str(told)) == (DataError, "bars.parquet was changed")


def test_another_error_of_a_worker_is_told_with_its_place() -> None:
    """Also one without a text, and one that runs over lines."""
    for raised, said in (
        ("ValueError: bad\n  numbers", "a Python worker raised ValueError: bad numbers"),
        ("AssertionError", "a Python worker raised AssertionError"),
        ("pkg.errors.NoData: none", "a Python worker raised pkg.errors.NoData: none"),
    ):
        text = TRACEBACK.format(raised=raised)
        told = failure(Failed(f"org.apache.spark.api.python.PythonException: {text}"))
        assert type(told) is StrategyError
        assert str(told) == f"{said} (/app/operator.py, line 108)"


@pytest.mark.parametrize(
    ("cause", "kind", "said"),
    [
        ("java.io.IOException: No space left on device", OutOfSpace, "free some"),
        ("java.lang.OutOfMemoryError: Java heap space", SetupError, "spark.driver.memory"),
        (
            "io.delta.exceptions.ConcurrentTransactionException: [DELTA_CONCURRENT_TRANSACTION] x",
            StoreConflict, "another run",
        ),
        ("org.apache.spark.SparkException: [CONCURRENT_STREAM_LOG_UPDATE] x", StoreConflict, ""),
        (f"java.net.SocketException: Connection reset\n{SOURCE}", RunLost, "Python worker"),
        (f"java.io.EOFException\n{WORKER}", RunLost, "run the same command"),
        (
            "org.apache.spark.SparkException: Python worker exited unexpectedly (crashed)",
            RunLost, "killed or crashed",
        ),
        (
            ("java.lang.IllegalStateException: Partition bars-0's offset was changed from 9 to 2, "
            "some data may have been lost"), DataError, "begin anew",
        ),
        (
            "org.apache.kafka.common.errors.TimeoutException: Call(callName=describeTopics)",
            StoreUnavailable, "Kafka does not answer",
        ),
        (
            "software.amazon.awssdk.core.exception.SdkClientException: Unable to execute",
            StoreUnavailable, "AWS_ENDPOINT_URL",
        ),
        (
            ("org.apache.spark.SparkException: [CANNOT_LOAD_STATE_STORE.UNCATEGORIZED] Error "
            "reading delta file file:/out/checkpoint/state/0/0/4.delta of "
            "HDFSStateStoreProvider[x]: gone"),
            StateError, "/out/checkpoint/state/0/0/4.delta is damaged:",
        ),
        (
            ("org.apache.spark.sql.delta.DeltaFileNotFoundException: [DELTA_TRUNCATED_"
            "TRANSACTION_LOG] /out/ledger/_delta_log/1.json is gone"),
            StoreError, "the ledger's table is damaged",
        ),
        ("java.lang.IllegalStateException: what nobody knows", RunError, "what nobody knows"),
    ],
)  # fmt: skip
def test_each_kind_of_failure(cause: str, kind: type[StreambtError], said: str) -> None:
    """The class, and so the exit code, and the way out; one line, without plan or frames."""
    told = failure(Failed("org.apache.spark.SparkException: [TASK_WRITE_FAILED] x", cause))
    assert type(told) is kind
    assert said in str(told)
    for noise in ("\n", "Thread State", "ScanRelation", "StreamExecution.scala"):
        assert noise not in str(told)


def test_a_jvm_that_is_gone() -> None:
    """What Py4J says of it is not what the user has to read."""
    for error in (Py4JNetworkError("Answer from Java side is empty"), ConnectionRefusedError(111)):
        told = failure(error)
        assert (type(told), told.exit_code) == (RunLost, 75)
        assert str(told) == "Spark's Java process has ended; run the same command to resume"


def test_secrets_do_not_matter_here() -> None:
    """An error of ours is passed on as it is."""
    error = StoreError("x")
    assert failure(error) is error
