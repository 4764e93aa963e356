"""Mean reversion: buy what fell too fast, sell once it has recovered.

streambt run examples/rsi_reversion.py --bars bars.csv --interval 1d --set enter=25
"""

import numpy as np

from streambt_spark.allocation import FixedSize


def revert(rsi, enter, leave):
    """Return 1 where the RSI is below `enter`, -1 where it is above `leave`, 0 in between.

    Zero keeps what is: a position taken below `enter` is held until the RSI is above `leave`.
    Arguments that `build` passes by name are parameters, the others are columns.
    """
    return np.where(rsi < enter, 1.0, np.where(rsi > leave, -1.0, 0.0))


def build(cerebro, bars, timeperiod=14, enter=30.0, leave=55.0, quantity=100):
    """Hold `quantity` of every symbol from an RSI below `enter` to one above `leave`."""
    rsi = cerebro.add_indicator("RSI", bars["close"], timeperiod=timeperiod)
    pulse = cerebro.add_indicator(revert, rsi, enter=enter, leave=leave)
    cerebro.add_strat(pulse, FixedSize(quantity))
