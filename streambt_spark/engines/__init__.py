"""Where a plan is run: in this process, or by Spark; both give the same ledger."""
