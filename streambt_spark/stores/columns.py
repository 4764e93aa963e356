"""Which column of a source means what."""

from __future__ import annotations

from typing import TYPE_CHECKING

from streambt_spark.core.market.bars import FIELDS
from streambt_spark.errors import BadColumns, ConfigError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

ALIASES: dict[str, tuple[str, ...]] = {
    "symbol": ("symbol", "ticker", "sym", "instrument", "asset", "code"),
    "session": ("session", "trading_day", "tradingday"),
    "ts": (
        "ts",
        "timestamp",
        "datetime",
        "date_time",
        "open_time",
        "opentime",
        "time",
        "date",
        "dt",
    ),
    "open": ("open", "o", "open_price"),
    "high": ("high", "h", "high_price"),
    "low": ("low", "l", "low_price"),
    "close": ("close", "c", "close_price"),
    "volume": ("volume", "vol", "v"),
}
"""Column → the names it goes by, best first; case, spaces and hyphens do not matter."""


def match_columns(
    names: Sequence[str],
    columns: Mapping[str, str] | None = None,
    *,
    symbol: str | None = None,
    where: str = "the source",
) -> dict[str, str]:
    """Return column → name in the source, for symbol, session or ts, and the five numbers.

    `columns` maps some of them to names explicitly; `symbol` stands for a missing symbol column.
    A `date` beside a `time` column are found as `date` and `time`, to be joined. Raises
    ConfigError for a key of `columns` that is no column of a bar, BadColumns for what is missing.
    """
    mapping = _explicit(names, columns or {}, where)
    by_name: dict[str, str] = {}
    for name in names:
        by_name.setdefault(normal(name), name)
    for column, aliases in ALIASES.items():
        taken = set(mapping.values())
        hits = (by_name[alias] for alias in aliases if by_name.get(alias) not in (None, *taken))
        if column not in mapping and (hit := next(hits, None)) is not None:
            mapping[column] = hit
    if "session" in mapping and "session" not in (columns or {}) and "ts" in (columns or {}):
        del mapping["session"]
    if "session" in mapping:
        mapping.pop("ts", None)
    if (
        normal(mapping.get("ts", "")) == "time"
        and "date" in by_name
        and not (columns or {}).get("ts")
    ):
        mapping |= {"date": by_name["date"], "time": mapping.pop("ts")}
    return _complete(mapping, names, symbol, where)


def normal(name: str) -> str:
    """Return a column name without case, brackets and separators: `<Open Time>` → open_time."""
    return str(name).strip().strip("<>").casefold().replace(" ", "_").replace("-", "_")


def _explicit(names: Sequence[str], columns: Mapping[str, str], where: str) -> dict[str, str]:
    for column, name in columns.items():
        if column not in ALIASES:
            known = ", ".join(ALIASES)
            hint = did_you_mean(column, ALIASES)
            raise ConfigError(
                f"a bar has no column {column!r}{hint}; map one of {known}",
                option="--columns",
                column=column,
            )
        if name not in names:
            raise BadColumns(
                f"{where} has no column {name!r} (mapped to {column}){did_you_mean(name, names)}; "
                f"it has {', '.join(map(str, names))}",
                column=str(name),
                address=where,
            )
    return dict(columns)


def _complete(
    mapping: dict[str, str], names: Sequence[str], symbol: str | None, where: str
) -> dict[str, str]:
    missing = [name for name in FIELDS if name not in mapping]
    if not {"session", "ts", "date"} & set(mapping):
        missing.insert(0, "ts or session")
    if "symbol" not in mapping and symbol is None:
        missing.insert(0, "symbol")
    if missing:
        hint = "; or say which symbol it holds" if missing == ["symbol"] else ""
        raise BadColumns(
            f"{where} lacks {', '.join(missing)}: found {', '.join(map(str, names)) or 'none'}, "
            "expected symbol, ts or session, open, high, low, close, volume (other names can be "
            f"mapped){hint}",
            column=missing[0],
            address=where,
        )
    return mapping
