"""Compute: the values of a program's functions over the next slices of a stream.

The value at a symbol's bar n is the function's value at n over the bars since
anchor(n) = max(0, ⌊n/M⌋·M - W), whatever the portions the bars came in: so every split of the
stream gives the same bits, and only the bars since the anchor are kept. A cross-sectional function
counts slices instead of bars and sees all symbols at once; an accumulated one carries its sums; a
pointwise one needs nothing but the bar.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from streambt_spark.core.indicators.step import open_step

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from streambt_spark.core.indicators.features import Features
    from streambt_spark.core.indicators.graph import Ref
    from streambt_spark.core.indicators.program import Program
    from streambt_spark.core.market.panel import Panel
    from streambt_spark.core.market.rows import Rows


def compute(
    program: Program, features: Features, panel: Panel, history: Rows | None = None
) -> tuple[Features, dict[Ref, NDArray[np.float64]]]:
    """Return the features after the next slices, and the values that the program is asked for.

    Values are float64[S, T], by symbol, NaN where a symbol has no bar or a function no value yet;
    they are not to be written to. `history` are bars that are in no slice and yet come before those
    of `panel` in their symbols' histories: rows sorted by (code, ts).
    """
    step = open_step(program, features, panel, history)
    if step.new.shape[1]:
        for stage in program.stages:
            stage.run(step)
    values = {ref: step.by_symbol(program.slots[ref]) for ref in program.results}
    return step.after(), values
