"""Secrets kept out of every text that leaves the process: messages, logs, printed settings."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

__all__ = ["MASK", "mask", "mask_address", "mask_values", "slash_in_login"]

MASK = "***"
_NAME = (
    r"pass(?:word|wd|phrase)|pwd|secret|token|credential|sasl|authorization"
    r"|(?:api|access|private|account|encryption)[_.\-]?key"
)
_SECRET_NAME = re.compile(_NAME, re.IGNORECASE)
_PARAMETER = re.compile(rf"{_NAME}|(?:^|[_.\-])key$", re.IGNORECASE)
_PLACE_NAME = re.compile(r"^(?:OLD)?PWD$|_(?:FILE|PATH|DIR|FOLDER|SOCK)$", re.IGNORECASE)
"""Variables that hold where a secret is, or where the shell is."""
_LOGIN = re.compile(r"([a-z][a-z0-9+.\-]{0,30}://)(\S*)@", re.IGNORECASE)
"""To the last @ before a space: a password may hold any sign that should have been escaped."""
_BARE_LOGIN = re.compile(r"(?<![^\s=\"'(\[{,;])(?!mailto:)[\w.+%\-]+:(?!//)\S+@(?=[\w\[])")
"""user:password@host where no scheme is written; an e-mail has no colon."""
_NEXT = r"""["']?[\w.\-]+["']?\s*[=:](?!=|["']?(?:[\s,;)\]}]|$))"""
"""Another name with a value; base64 ends in an = that has none."""
_LINE = r"\((?:\S+ )?line \d"
"""Where a strategy raised, which is told behind its words."""
_END = (
    rf"""(?=\s*$|\s+{_LINE}|\s+{_NEXT}|[,;&](?:[\s"']|$|\s*{_NEXT})"""
    r"""|[)\]}]+[,;.:]*(?:[\s"']|$)|["'](?!\w))"""
)
_PAIR = re.compile(
    rf"""((?:{_NAME})[\w.\-]*['"]?\s*[=:]\s*)"""
    r"""("(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'"""
    rf"""|\S[^\r\n]*?{_END})""",
    re.IGNORECASE | re.MULTILINE,
)
"""A name and its value: quoted, or all words up to the end of the clause or the next name."""
_BEARER = re.compile(r"\b(Bearer\s+)(?=\S*[\d._~+/=\-]|\S{16})[^\s,;\"']+", re.IGNORECASE)
"""A bearer's token; `bearer of news` is none."""
_SLASH_IN_LOGIN = re.compile(r"[^/]*://[^/?]*/[^?]*@")
_SHORTEST = 6
"""A shorter value of the environment would mask ordinary words."""


def mask(text: str) -> str:
    """Return the text without its secrets.

    Masked are the login part of any address, the value of any `password=…`-like pair, bearer
    tokens, and every value that the environment holds under such a name or as a login.
    """
    for secret in _environment_secrets():
        text = secret.sub(MASK, text)
    text = _LOGIN.sub(rf"\1{MASK}@", text)
    text = _BARE_LOGIN.sub(f"{MASK}@", text)
    text = _PAIR.sub(rf"\1{MASK}", text)
    return _BEARER.sub(rf"\1{MASK}", text)


def mask_address(address: str) -> str:
    """Return one address without its login, whose password may hold a space."""
    return mask("".join(address.split()))


def mask_values(value: Any) -> Any:
    """Return plain data with its texts masked, and whatever a mapping holds under a secret name."""
    if isinstance(value, str):
        return mask(value)
    if isinstance(value, Mapping):
        return {
            name: MASK if item is not None and _PARAMETER.search(str(name)) else mask_values(item)
            for name, item in value.items()
        }
    if isinstance(value, list | tuple):
        return [mask_values(item) for item in value]
    return value


def slash_in_login(address: str) -> bool:
    """Tell whether a login holds a /, which parsers take for its end and then quote the rest."""
    return _SLASH_IN_LOGIN.match(address) is not None


def _environment_secrets() -> list[re.Pattern[str]]:
    values = set()
    for name, value in os.environ.items():
        if _SECRET_NAME.search(name) and not _is_place(name, value):
            values.add(value)
        if (login := _LOGIN.search(value) or _BARE_LOGIN.search(value)) is not None:
            values.add(login[0].rpartition("@")[0].rpartition("://")[2].partition(":")[2])
    longest_first = sorted((v for v in values if len(v) >= _SHORTEST), key=len, reverse=True)
    return [_written(value) for value in longest_first]


def _written(value: str) -> re.Pattern[str]:
    """Match a value as it is, with its spaces as they may be, and escaped for an address."""
    words = r"\s+".join(map(re.escape, value.split()))
    return re.compile(f"{words}|{re.escape(quote(value, safe=''))}")


def _is_place(name: str, value: str) -> bool:
    """Tell whether a variable holds a place: by its name, or since there is such a file.

    What a value begins with says nothing: a key of AWS may begin with a /.
    """
    return _PLACE_NAME.search(name) is not None or _exists(value)


def _exists(value: str) -> bool:
    try:
        return Path(value).exists()
    except (OSError, ValueError):  # too long for a path, or a zero byte
        return False
