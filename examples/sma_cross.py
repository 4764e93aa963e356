"""Moving average cross: long while the fast average is above the slow one, else flat.

streambt run examples/sma_cross.py --bars bars.csv --interval 1d --set fast=10 --set slow=30
"""

import numpy as np

from streambt_spark.allocation import PercentOfEquity


def cross(fast, slow):
    """Return 1 where the fast average is above the slow one, -1 where below: a pulse.

    A pulse above zero asks for the long target, one below zero for flat. Before the slow average
    has its first value the difference is NaN, which asks for nothing.
    """
    return np.sign(fast - slow)


def build(cerebro, bars, fast=10, slow=30, share=0.1):
    """Enter every symbol that crosses upwards with `share` of the equity; hold until it crosses."""
    fast_average = cerebro.add_indicator("SMA", bars["close"], timeperiod=fast)
    slow_average = cerebro.add_indicator("SMA", bars["close"], timeperiod=slow)
    pulse = cerebro.add_indicator(cross, fast_average, slow_average)
    cerebro.add_strat(pulse, PercentOfEquity(share))
