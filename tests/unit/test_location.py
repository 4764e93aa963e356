"""Addresses: what is a folder of this machine, and what is not."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from streambt_spark.errors import ConfigError
from streambt_spark.stores.location import Location, run_folder

S3 = "s3a://b/run"


@pytest.mark.parametrize(
    ("address", "text"),
    [
        (S3, S3), (Path(S3), S3), ("s3://b/run/", "s3://b/run"), ("/a/b/", "/a/b"),
        ("file:///a/b%20c", "/a/b c"), (Path("file:///a/b"), "/a/b"),
    ],
)  # fmt: skip
def test_a_path_and_a_text_are_one_address(address: str | os.PathLike[str], text: str) -> None:
    """Also where a Path has made one slash of two."""
    assert Location.of(address).text == text


def test_names_that_are_no_address_are_local(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A colon alone makes no scheme, nor does one letter."""
    monkeypatch.chdir(tmp_path)
    for name in ("a:b", "C:/bars", "x/s3a://b"):
        assert Location.of(name).text == str(tmp_path / name)


@pytest.mark.parametrize("address", ["gs://b/run", Path("gs://b/run"), "s3a://", "s3a:/"])
def test_an_address_of_nothing_is_refused(address: str | os.PathLike[str]) -> None:
    """It would otherwise be a folder of that name in the current one."""
    with pytest.raises(ConfigError, match="use a folder, s3a://BUCKET/"):
        Location.of(address)


@pytest.mark.parametrize("out", [S3, Path(S3), "gs://b/run"])
def test_a_run_s_folder_is_of_this_machine(out: str | os.PathLike[str], tmp_path: Path) -> None:
    """An address elsewhere is refused, and the line says what can be there."""
    with pytest.raises(ConfigError, match=r"no folder of this machine.*--ledger s3a:") as caught:
        run_folder(out)
    assert (caught.value.option, "\n" in str(caught.value)) == ("--out", False)
    assert run_folder(tmp_path) == run_folder(tmp_path.as_uri()) == tmp_path
