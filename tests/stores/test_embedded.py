"""The private mongod."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from streambt_spark.errors import ExtraMissing, OutputError
from streambt_spark.stores import embedded
from streambt_spark.stores.embedded import embedded_mongod, listening
from streambt_spark.stores.intake import check_source
from streambt_spark.stores.mongo import BarStore

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
