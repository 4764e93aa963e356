"""The domain, pure: bars, indicators, orders, fills and the ledger, without Spark or I/O."""
