"""Where files live: a local folder or a prefix of an S3 bucket."""

from __future__ import annotations

import os
import re
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from pyarrow import fs

from streambt_spark.errors import (
    ConfigError,
    ExtraMissing,
    OutputError,
    StoreError,
    StoreUnavailable,
)
from streambt_spark.masking import mask_address
from streambt_spark.stores.disk import free_space, is_full

if TYPE_CHECKING:
    from collections.abc import Iterator

S3_SCHEMES = ("s3", "s3a")
_ADDRESS = re.compile(r"([a-zA-Z][\w+.-]+):/+(.*)", re.DOTALL)
"""A scheme and what follows; a pathlib.Path has made one slash of two."""


@dataclass(frozen=True, slots=True)
class Location:
    """A folder or an S3 prefix; `text` is its address without a slash at the end."""

    text: str

    @classmethod
    def of(cls, path: str | os.PathLike[str]) -> Location:
        """Return the location of a path, a file:// address, or an s3:// or s3a:// address.

        Raises ConfigError for another scheme, and for an address without a bucket.
        """
        text = os.fspath(path)
        found = _ADDRESS.fullmatch(text)
        if found is None:
            return cls(str(Path(text).expanduser().absolute()))
        scheme, rest = found[1], found[2].rstrip("/")
        if scheme == "file":
            return cls(str(Path(unquote(urlsplit(text).path)).absolute()))
        if scheme in S3_SCHEMES and rest:
            return cls(f"{scheme}://{rest}")
        raise ConfigError(
            f"address {mask_address(text)!r} is not understood; use a folder, s3a://BUCKET/… or s3://BUCKET/…"
        )

    @property
    def remote(self) -> bool:
        """Whether this is S3."""
        return self.text.partition("://")[0] in S3_SCHEMES

    @property
    def filesystem(self) -> fs.FileSystem:
        """The Arrow file system that serves this location."""
        return _s3(*_environment()) if self.remote else fs.LocalFileSystem()

    @property
    def key(self) -> str:
        """The path inside the file system: bucket/prefix, or the local path."""
        return self.text.partition("://")[2] if self.remote else self.text

    @property
    def delta_address(self) -> str:
        """The address as delta-rs expects it."""
        return f"s3://{self.key}" if self.remote else self.text

    @property
    def delta_options(self) -> dict[str, str] | None:
        """The storage options of delta-rs; credentials come from the environment only."""
        if not self.remote:
            return None
        access, secret, token, region, endpoint = _environment()
        options = {
            "AWS_ACCESS_KEY_ID": access,
            "AWS_SECRET_ACCESS_KEY": secret,
            "AWS_SESSION_TOKEN": token,
            "AWS_REGION": region,
            "AWS_ENDPOINT_URL": endpoint,
            "AWS_ALLOW_HTTP": "true" if endpoint.startswith("http://") else "false",
        }
        return {name: value for name, value in options.items() if value}

    def __truediv__(self, name: str) -> Location:
        return Location(f"{self.text}/{name}")

    def exists(self) -> bool:
        """Whether there is a file or folder (on S3: a key, or a key below)."""
        with self.guard("read"):
            return bool(self.filesystem.get_file_info(self.key).type != fs.FileType.NotFound)

    def names(self) -> list[str]:
        """Return the sorted names directly below; none where there is no such folder."""
        with self.guard("list"):
            selector = fs.FileSelector(self.key, allow_not_found=True)
            return sorted(info.base_name for info in self.filesystem.get_file_info(selector))

    def read_bytes(self) -> bytes:
        """Return the content of a file."""
        with self.guard("read"), self.filesystem.open_input_stream(self.key) as stream:
            return bytes(stream.read())

    def write_bytes(self, content: bytes) -> None:
        """Write a file at once: a reader sees all of it or none."""
        with self.guard("write"):
            if self.remote:
                with self.filesystem.open_output_stream(self.key) as stream:
                    stream.write(content)
                return
            partial = Path(f"{self.text}.partial")
            partial.write_bytes(content)
            partial.replace(self.text)

    def create(self, content: bytes) -> bool:
        """Write a file that nobody else has written; return False where there is one.

        Raises ExtraMissing where S3 is meant and boto3, which can do that, is not installed.
        """
        with self.guard("write"):
            if self.remote:
                return _put_new(self.key, content)
            try:
                with Path(self.text).open("xb") as file:
                    file.write(content)
            except FileExistsError:
                return False
            return True

    def make(self) -> None:
        """Make the folder; S3 has none."""
        if not self.remote:
            with self.guard("write"):
                Path(self.text).mkdir(parents=True, exist_ok=True)

    def remove(self) -> None:
        """Delete the file or folder if it is there."""
        with self.guard("delete"):
            kind = self.filesystem.get_file_info(self.key).type
            if kind == fs.FileType.Directory:
                self.filesystem.delete_dir(self.key)
            elif kind == fs.FileType.File:
                self.filesystem.delete_file(self.key)

    def remove_empty(self) -> None:
        """Delete the folder if nothing is in it; on S3, the mark that PyArrow leaves of one."""
        if not self.remote:
            with suppress(OSError):
                Path(self.text).rmdir()
        elif not self.names():
            self.remove()

    @contextmanager
    def guard(self, action: str) -> Iterator[None]:
        """Turn a failure of the file system into one error that names the place.

        Raises StoreUnavailable where S3 does not answer or refuses, OutputError where a local
        folder cannot be written, StoreError where it cannot be read.
        """
        try:
            yield
        except OSError as error:
            cause = " ".join(str(error).split())[:300]
            if self.remote:
                raise StoreUnavailable(
                    f"cannot {action} {self.text}: {cause}; check AWS_ENDPOINT_URL, AWS_REGION, "
                    "the bucket and the access key's rights"
                ) from error
            if action == "write" and is_full(error):
                raise self.full() from error
            if action == "write":
                raise OutputError(
                    f"cannot write {self.text}: {cause}; choose a folder you may write to"
                ) from error
            raise StoreError(f"cannot {action} {self.text}: {cause}") from error

    def full(self) -> OutputError:
        """Return the error for a local disk that has no room."""
        room = free_space(Path(self.text))
        return OutputError(
            f"cannot write {self.text}: the disk is full ({room}); free some space, or choose a "
            "folder on another disk"
        )


def run_folder(out: str | os.PathLike[str]) -> Path:
    """Return the folder of a run: a path, or a file:// address.

    Raises ConfigError for an address elsewhere, of which a Path would be a folder in the current
    one.
    """
    text = os.fspath(out)
    found = _ADDRESS.fullmatch(text)
    if found is not None and found[1] != "file":
        raise ConfigError(
            f"--out {mask_address(text)} is no folder of this machine, and a run keeps its results "
            "in one; its ledger can be elsewhere: --out DIR --ledger s3a://BUCKET/…",
            option="--out",
            address=mask_address(text),
        )
    return Path(Location.of(text).text)


def _environment() -> tuple[str, str, str, str, str]:
    get = os.environ.get
    return (
        get("AWS_ACCESS_KEY_ID", ""),
        get("AWS_SECRET_ACCESS_KEY", ""),
        get("AWS_SESSION_TOKEN", ""),
        get("AWS_REGION") or get("AWS_DEFAULT_REGION") or "us-east-1",
        (get("AWS_ENDPOINT_URL_S3") or get("AWS_ENDPOINT_URL") or "").rstrip("/"),
    )


def _put_new(key: str, content: bytes) -> bool:
    """Put an S3 object unless there is one; PyArrow has no condition for that."""
    try:
        import boto3
        from botocore.config import Config
        from botocore.exceptions import BotoCoreError, ClientError
    except ImportError:
        raise ExtraMissing(
            'to write to S3, run: pip install "streambt-spark[s3]" (boto3 is not installed)'
        ) from None
    access, secret, token, region, endpoint = _environment()
    client = boto3.session.Session().client(  # the default session is not for several threads
        "s3",
        aws_access_key_id=access or None,
        aws_secret_access_key=secret or None,
        aws_session_token=token or None,
        region_name=region,
        endpoint_url=endpoint or None,
        config=Config(
            connect_timeout=10,
            read_timeout=60,
            request_checksum_calculation="when_required",  # servers other than AWS's lack the rest
            s3={"addressing_style": "path" if endpoint else "auto"},
        ),
    )
    bucket, _, name = key.partition("/")
    try:
        client.put_object(Bucket=bucket, Key=name, Body=content, IfNoneMatch="*")
    except ClientError as error:
        if error.response["ResponseMetadata"]["HTTPStatusCode"] in (409, 412):
            return False
        raise OSError(str(error)) from None
    except BotoCoreError as error:
        raise OSError(str(error)) from None
    finally:
        client.close()
    return True


@lru_cache(maxsize=8)
def _s3(access: str, secret: str, token: str, region: str, endpoint: str) -> fs.FileSystem:
    scheme, _, host = endpoint.partition("://")
    return fs.S3FileSystem(
        access_key=access or None,
        secret_key=secret or None,
        session_token=token or None,
        region=region,
        endpoint_override=host or None,
        scheme=scheme if host else "https",
        connect_timeout=10,
        request_timeout=60,
    )
