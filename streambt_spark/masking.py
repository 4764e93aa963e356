"""Secrets kept out of every text that leaves the process: messages, logs, printed settings."""

from __future__ import annotations

import os
import re

MASK = "***"
_NAME = r"password|passwd|secret|token|access[_.\-]?key|credential|sasl"
_SECRET_NAME = re.compile(_NAME, re.IGNORECASE)
_LOGIN = re.compile(r"([a-z][a-z0-9+.\-]*://)(\S*)@", re.IGNORECASE)
"""To the last @ before a space: a password may hold any sign that should have been escaped."""
_PAIR = re.compile(
    rf"([\w.\-]*(?:{_NAME})[\w.\-]*['\"]?\s*[=:]\s*)(\"[^\"]*\"|'[^']*'|[^\s,;&'\"]+)",
    re.IGNORECASE,
)
_SLASH_IN_LOGIN = re.compile(r"[^/]*://[^/?]*/[^?]*@")
_SHORTEST = 6
"""A shorter value of the environment would mask ordinary words."""


def mask(text: str) -> str:
    """Return the text without its secrets.

    Masked are the login part of any address, the value of any `password=…`-like pair, and every
    value that the environment holds under such a name or as a login.
    """
    text = _LOGIN.sub(rf"\1{MASK}@", text)
    for value in _environment_secrets():
        text = text.replace(value, MASK)
    return _PAIR.sub(rf"\1{MASK}", text)


def mask_address(address: str) -> str:
    """Return one address without its login, whose password may hold a space."""
    return mask("".join(address.split()))


def slash_in_login(address: str) -> bool:
    """Tell whether a login holds a /, which parsers take for its end and then quote the rest."""
    return _SLASH_IN_LOGIN.match(address) is not None


def _environment_secrets() -> list[str]:
    found = set()
    for name, value in os.environ.items():
        if _SECRET_NAME.search(name) and not _is_path(value):
            found.add(value)
        if (login := _LOGIN.search(value)) is not None:
            found.add(login[2].partition(":")[2])
    return sorted((v for v in found if len(v) >= _SHORTEST), key=len, reverse=True)


def _is_path(value: str) -> bool:
    """Tell whether a value is a place; a / inside does not make it one, as in keys of AWS."""
    return value.startswith(("/", "~", ".")) or os.path.exists(value)  # noqa: PTH110 - any text
