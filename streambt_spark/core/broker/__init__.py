"""The simulated account: orders, fills, commission, slippage, money and sizing."""
