"""The ledger: events, their digest, and what is made of them: trades, metrics, the audit."""
