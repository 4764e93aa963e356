"""Who holds a place: one at a time, and none that is dead."""

from __future__ import annotations

import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import asdict, replace
from pathlib import Path
from threading import Barrier

import pytest

from streambt_spark.errors import OutputError
from streambt_spark.stores.claim import Holder, claimed, held
from streambt_spark.stores.location import Location


def dead() -> Holder:
    """Return a process of this machine that has ended."""
    code = (
        "import json; from dataclasses import asdict\n"
        "from streambt_spark.stores.claim import Holder; print(json.dumps(asdict(Holder.here())))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    holder = Holder.of(json.loads(done.stdout))
    assert holder is not None
    return holder


def test_one_at_a_time(tmp_path: Path) -> None:
    """A place that is held is refused, and free again afterwards, also after an error."""
    place = Location.of(tmp_path / "s")
    for _ in range(2):
        with suppress(ZeroDivisionError), claimed(place, "_writing") as name:
            assert place.names() == [name] == ["_writing-1"]
            with pytest.raises(OutputError, match="is being written by process"):
                claimed(place, "_writing").__enter__()
            _ = 1 / 0


def test_a_holder_is_gone_only_where_that_is_certain() -> None:
    """Another machine or container is never judged; a process that ended, or was before a restart
    of this machine, is gone, and so is what this process held and let go.
    """
    here = Holder.here()
    with held(here):
        assert not here.gone()
        assert replace(here, started="1").gone()
    assert here.gone()
    ended = dead()
    assert ended.gone()
    assert replace(here, boot="other", machine=here.machine).gone() == bool(here.machine)
    for elsewhere in ({"host": "other"}, {"machine": "other"}, {"space": "pid:[1]"}):
        assert not replace(ended, **elsewhere).gone()  # type: ignore[arg-type]


def test_of_those_who_find_a_dead_holder_one_takes_over(tmp_path: Path) -> None:
    """Eight at once leave one holder, whose claim is newer than the dead one's."""
    (tmp_path / "_writing-9").write_text(json.dumps(asdict(dead())))
    place, begin = Location.of(tmp_path), Barrier(8)

    def take(stack: ExitStack) -> str:
        begin.wait()
        try:
            return stack.enter_context(claimed(place, "_writing"))
        except OutputError:
            return ""

    with ExitStack() as stack, ThreadPoolExecutor(8) as pool:
        told = list(pool.map(take, [stack] * 8))
    assert sorted(told) == [""] * 7 + ["_writing-10"]


@pytest.mark.parametrize("content", ["", "junk", "[]", '{"host": 1}'])
def test_a_claim_that_cannot_be_read_is_respected(tmp_path: Path, content: str) -> None:
    """Whoever it is of, the file to delete is named."""
    (tmp_path / "_writing-1").write_text(content)
    with (
        pytest.raises(OutputError, match=f"delete {tmp_path}/_writing-1"),
        claimed(Location.of(tmp_path), "_writing"),
    ):
        pass
