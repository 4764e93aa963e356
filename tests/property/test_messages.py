"""From the messages of a topic to the ledger: no batch, pack or portion leaves a trace."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pandas as pd
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from streambt_spark.core.block import open_block, step
from streambt_spark.core.ledger.events import Events
from streambt_spark.core.ledger.fields import REASONS, Kind
from streambt_spark.core.market.bars import Bars
from streambt_spark.core.market.portions import portions
from streambt_spark.core.market.rows import RowKind, rows_of_bars
from streambt_spark.core.plan import compile_plan
from streambt_spark.engines import local
from streambt_spark.streams.messages import Received, batch_of, messages_of, template
from streambt_spark.streams.packing import packer, parts_of
from tests.property.streams import DAY, bits, markets
from tests.property.test_state import plan_of

ASIDE = {
    b"{not json": "malformed",
    b'{"ts":86400000000}{"ts":172800000000}': "malformed",
    b'{"kind":"merger","ts":1}': "unknown_kind",
    b'{"ts":86400000000,"close":1}': "missing_field",
    b'{"kind":"heartbeat","ts":999999999960000000}': "bad_time",
    b'{"kind":"heartbeat","ts":86400000000000}': "beyond_horizon",
    b'{"kind":"split","ts":1,"ratio":4}': "split",
    b'{"kind":"order","ts":1,"side":"sell","quantity":1}': "order",
}


def topic(bars: Bars, extra: list[tuple[int, bytes]]) -> list[Received]:
    """Return bars as a feed writes them, slice by slice, with other messages at some places."""
    values: list[bytes] = []
    for ts in np.unique(bars.ts).tolist():
        here = bars.take(bars.ts == ts)
        values += [text.encode() for _, text in messages_of(rows_of_bars(here), bars.symbols, "1d")]
        silent = set(range(len(bars.symbols))) - set(here.code.tolist())
        beats = (template(RowKind.HEARTBEAT) % (bars.symbols[s], ts) for s in sorted(silent))
        values += [text.encode() for text in beats]
    for at, value in extra:
        values.insert(min(at, len(values)), value)
    values += [(template(RowKind.END) % (name, 0)).encode() for name in bars.symbols]
    return [Received(b"A", value, at, 14 * DAY) for at, value in enumerate(values)]


@settings(max_examples=60)
@given(st.data())
def test_any_batches_and_packs_give_the_local_ledger(data: st.DataObject) -> None:
    """Batches cut anywhere, their rows and packs in any order, and junk in between."""
    bars = data.draw(markets())
    plan = plan_of(bars.symbols)
    places = st.tuples(st.integers(0, 40), st.sampled_from(sorted(ASIDE)))
    extra = data.draw(st.lists(places, max_size=5))
    messages = topic(bars, extra)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(messages)), max_size=4)))
    program = compile_plan(plan)
    block, parts = open_block(program), []
    for start, stop in pairwise([0, *cuts, len(messages)]):
        batch = batch_of(messages[start:stop])
        order = pa.array(data.draw(st.permutations(range(stop - start))), pa.int64())
        packs = packer(bars.symbols, "1d", data.draw(st.integers(1, 20)))(iter([batch.take(order)]))
        frames = [pack.to_pandas() for pack in packs]
        if not frames:
            continue
        frame = pd.concat(frames).sample(frac=1, random_state=data.draw(st.integers(0, 9)))
        for rows in portions(parts_of(frame), data.draw(st.integers(1, 30))):
            block, events = step(program, block, rows)
            parts.append(events)
    events = Events.concat(parts)
    assert bits(events) == bits(local.run(plan, bars))
    aside = events.reason[(events.kind == Kind.REJECTED) | (events.kind == Kind.UNSUPPORTED)]
    assert sorted(REASONS[code] or "" for code in aside) == sorted(
        ASIDE[value] for _, value in extra
    )
    ends = (events.kind == Kind.END).sum()
    assert ends == 1
