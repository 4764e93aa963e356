"""Cross-sectional momentum: each month, hold the symbols that rose most over the last months.

streambt run examples/momentum_rank.py --bars bars.csv --interval 1d --set top=2 --set window=126
"""

import numpy as np

from streambt_spark import indicator
from streambt_spark.allocation import EqualWeight


def month_of(ts):
    """Return the number of the month that holds the bars of each row."""
    return np.nanmax(ts, axis=1).astype("datetime64[us]").astype("datetime64[M]").astype(int)


@indicator(cross_sectional=True, warmup=lambda window: window)
def momentum_rank(close, ts, window, top):
    """Return 1 for the `top` best returns over `window` rows, -1 for the rest, 0 inside a month.

    Columns are panels, float64[time, symbol], NaN where a symbol has no bar. A stream is evaluated
    in overlapping stretches, so rows have no fixed number: what recurs must be told from the time.
    """
    returns = np.full(close.shape, np.nan)
    returns[window:] = close[window:] / close[:-window] - 1.0
    order = np.argsort(np.argsort(-returns, axis=1, kind="stable"), axis=1, kind="stable")
    pulse = np.where(order < top, 1.0, -1.0)
    month = month_of(ts)
    begins = np.append(False, month[1:] != month[:-1])
    return np.where(begins[:, None] & ~np.isnan(returns), pulse, 0.0)


def build(cerebro, bars, window=126, top=2):
    """Rebalance at the first bar of each month into the `top` symbols; 5 % of cash for gaps."""
    pulse = cerebro.add_indicator(momentum_rank, bars["close"], bars["ts"], window=window, top=top)
    cerebro.add_strat(pulse, EqualWeight(positions=top, share=0.95))
