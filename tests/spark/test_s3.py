"""Snapshot, checkpoint and table on a real S3 server, with the environment's credentials alone."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.services.weed import S3Server

JOB = """if True:
    import sys
    import numpy as np
    from deltalake import DeltaTable
    from streambt_spark.core.market.bars import Bars
    from streambt_spark.errors import CheckpointMismatch
    from streambt_spark.engines.binding import bind
    from streambt_spark.spark.source import replay_rows
    from streambt_spark.streams.replay import Replay
    from streambt_spark.spark.session import session
    from streambt_spark.stores.lake import bars_to_batches, write_snapshot
    from streambt_spark.stores.location import Location

    root = sys.argv[1]
    price = np.full(20, 10.0)
    bars = Bars(
        "1m", ("A", "B"), np.tile(np.arange(2, dtype=np.int32), 10),
        np.repeat(np.arange(10) * 60_000_000, 2), price, price, price, price, price,
    )
    snapshot = write_snapshot(bars_to_batches(bars), f"{root}/bars", interval="1m")
    replay = Replay(snapshot.path, slices_per_batch=4)
    checkpoint, table = f"{root}/checkpoint", f"{root}/rows"
    assert bind(checkpoint, {"run_id": "a", "cash": 1}) is False
    try:
        bind(checkpoint, {"run_id": "b", "cash": 2})
    except CheckpointMismatch as error:
        assert "cash was 1, is 2" in str(error)
    else:
        raise AssertionError("the checkpoint of another run was taken")
    with session(master="local[2]", addresses=[root]) as spark:
        for resumed in (False, True):
            if resumed:
                assert bind(checkpoint, {"run_id": "a", "cash": 1}) is True
            writer = replay_rows(spark, replay).writeStream.format("delta")
            query = writer.option("checkpointLocation", checkpoint).trigger(availableNow=True)
            query.start(table).awaitTermination()
            rows = spark.read.format("delta").load(table)
            assert rows.where("kind = 'bar'").count() == 20
            assert rows.count() == 20 + 3 + 1
    place = Location.of(table)
    assert DeltaTable(place.delta_address, storage_options=place.delta_options).version() == 2
"""


@pytest.mark.spark
@pytest.mark.store
def test_replay_into_delta_on_s3(weed: S3Server, tmp_path: Path) -> None:
    """A snapshot on S3 streams into a table on S3; a second start finds nothing more to do."""
    env = os.environ | weed.environment
    job = [sys.executable, "-c", JOB, f"s3a://{weed.bucket}/replay"]
    done = subprocess.run(job, cwd=tmp_path, env=env, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert list(tmp_path.iterdir()) == []
