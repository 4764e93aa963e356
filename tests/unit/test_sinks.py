"""The ledger's table as the driver reads it."""

from __future__ import annotations

from pathlib import Path

import deltalake.fs
import pyarrow as pa
import pytest
from deltalake import write_deltalake

from streambt_spark.errors import SourceNotFound
from streambt_spark.stores.ledger import has_ended, read_ledger


def _refuse(*_: object, **__: object) -> None:
    raise AssertionError("Arrow's threads would call Python, also while the interpreter ends")


def test_a_ledger_is_read_without_python_in_arrows_threads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """delta-rs' own file system aborts one process in ten that ends right after the read."""
    monkeypatch.setattr(deltalake.fs.DeltaStorageHandler, "__new__", _refuse)
    kinds = pa.table({"kind": ["order", "fill"]})
    write_deltalake(tmp_path / "open", kinds)
    write_deltalake(tmp_path / "ended", pa.table({"kind": ["end"]}))
    assert read_ledger(str(tmp_path / "open")) == kinds
    assert not has_ended(str(tmp_path / "open"))
    assert has_ended(str(tmp_path / "ended"))


def test_no_ledger_is_an_error_and_has_not_ended(tmp_path: Path) -> None:
    """A missing ledger is told apart from an empty one."""
    assert not has_ended(str(tmp_path / "none"))
    with pytest.raises(SourceNotFound, match="no ledger at"):
        read_ledger(str(tmp_path / "none"))
