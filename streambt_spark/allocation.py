"""The allocations a strategy chooses from; any function of the same shape will do as well."""

from streambt_spark.core.broker.allocation import (
    AllIn,
    AllocationFunction,
    Bar,
    EqualWeight,
    FixedSize,
    PercentOfEquity,
    Portfolio,
    TargetPercent,
)

__all__ = [
    "AllIn",
    "AllocationFunction",
    "Bar",
    "EqualWeight",
    "FixedSize",
    "PercentOfEquity",
    "Portfolio",
    "TargetPercent",
]
