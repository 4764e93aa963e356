"""Settings merged and checked once: option > environment > profile > default."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml
from pydantic import SecretStr, ValidationError

from streambt_spark.errors import ConfigError, did_you_mean
from streambt_spark.masking import mask_address, mask_values
from streambt_spark.settings import SECTIONS, Settings, setting_named, settings_of

__all__ = ["PREFIX", "PROFILE_FOLDERS", "Loaded", "find_profile", "load"]

PREFIX = "STREAMBT_"
PROFILE_FOLDERS = (Path("conf"), Path(__file__).parent / "conf", Path(__file__).parents[1] / "conf")
"""Where `--profile NAME` is looked for: here, in the installed package, in its source tree."""

_COMMAND_LINE = frozenset({f"{PREFIX}DEBUG", f"{PREFIX}PROFILE"})
"""Variables of the command line's own."""

_KUBERNETES = re.compile(
    PREFIX + r"(\w+_)?(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT(_\d+_(TCP|UDP|SCTP)(_\w+)?)?)"
)
"""Variables that Kubernetes gives every pod beside a service called streambt…."""

_Values = dict[str, dict[str, object]]


@dataclass(frozen=True)
class Loaded:
    """Merged settings, and where each value that is not a default came from."""

    settings: Settings
    origins: Mapping[tuple[str, str], str]

    @cached_property
    def text(self) -> str:
        """The settings as YAML with each value's origin; secrets are masked."""
        lines = []
        for section, values in self.settings.model_dump().items():
            lines.append(f"{section}:")
            for name, value in values.items():
                origin = self.origins.get((section, name), "default")
                lines.append(f"  {f'{name}: {_plain(value)}':<40} # {origin}")
        return "\n".join(lines)


def _plain(value: object) -> str:
    if isinstance(value, SecretStr):
        value = mask_address(value.get_secret_value())
    value = mask_values(list(value) if isinstance(value, tuple) else value)
    text = yaml.safe_dump(value, default_flow_style=True, sort_keys=False, width=10_000)
    return text.removesuffix("\n").removesuffix("\n...")


def load(
    options: Mapping[str, object] | None = None,
    profile: str | None = None,
    defaults: Mapping[str, object] | None = None,
) -> Loaded:
    """Return the settings that options, environment, profile and defaults give, in this order.

    `options` and `defaults` map a setting's name to its value, where None is "not given". Raises
    ConfigError with one clause for each setting that is wrong.
    """
    path = find_profile(profile) if profile else None
    layers = [
        ("default of this command", _sectioned(defaults or {})),
        (str(path), _read_profile(path) if path else {}),
        ("environment", _read_environment()),
        ("option", _sectioned(options or {})),
    ]
    merged: dict[str, Any] = {}
    origins: dict[tuple[str, str], str] = {}
    for origin, layer in layers:
        for section, values in layer.items():
            if not isinstance(values, Mapping):
                raise ConfigError(f"{origin}: {section} is {values!r}; expected settings below it")
            merged.setdefault(section, {}).update(values)
            origins |= {(section, name): _origin(origin, section, name) for name in values}
    try:
        return Loaded(Settings(**merged), origins)
    except ValidationError as error:
        faults = error.errors(include_url=False)
        clauses = dict.fromkeys(_clause(fault, origins) for fault in faults)
        raise ConfigError("; ".join(clauses), option=_origin_of(faults[0], origins)) from None


def find_profile(name: str) -> Path:
    """Return the file of a profile given by name or by path; raises ConfigError without one."""
    if name.endswith((".yaml", ".yml")) or "/" in name:
        if Path(name).is_file():
            return Path(name)
        raise ConfigError(f"--profile: there is no file {name}", option="--profile", address=name)
    for folder in PROFILE_FOLDERS:
        if (path := folder / f"{name}.yaml").is_file():
            return path
    known = sorted({p.stem for folder in PROFILE_FOLDERS for p in folder.glob("*.yaml")})
    raise ConfigError(
        f"--profile: there is no profile {name!r}{did_you_mean(name, known)}; "
        f"there is {', '.join(known) or 'none'}; or give the path of a YAML file",
        option="--profile",
    )


def _sectioned(values: Mapping[str, object]) -> _Values:
    sections: _Values = {}
    for name, value in values.items():
        if value is not None:
            sections.setdefault(setting_named(name).section, {})[name] = value
    return sections


def _read_environment() -> _Values:
    """Return what the variables set; raises ConfigError for one that no section is called as.

    A misspelt variable that nobody reads would be a run with other settings than were asked for.
    """
    sections: _Values = {}
    for name, text in sorted(os.environ.items()):
        variable = name.upper()
        if not variable.startswith(PREFIX) or variable in _COMMAND_LINE:
            continue
        section, _, field = variable.removeprefix(PREFIX).lower().partition("_")
        if section in SECTIONS and (field in SECTIONS[section].model_fields):
            sections.setdefault(section, {})[field] = text
        elif not _KUBERNETES.fullmatch(variable):
            hint = did_you_mean(variable, _variables()) or "; streambt run --show-config lists them"
            raise ConfigError(f"{name}: there is no such setting{hint}", option=name)
    return sections


def _variables() -> list[str]:
    names = [_variable(section, s.name) for section in SECTIONS for s in settings_of(section)]
    return [*names, *_COMMAND_LINE]


def _variable(section: str, name: str) -> str:
    return f"{PREFIX}{section}_{name}".upper()


def _read_profile(path: Path) -> dict[str, Any]:
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8-sig"))
    except (UnicodeDecodeError, yaml.reader.ReaderError):
        raise ConfigError(f"{path} is not a text file", address=str(path)) from None
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise ConfigError(
            f"{path} line {line} is not YAML: {error.problem}", address=str(path), line=line
        ) from None
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}", address=str(path)) from None
    if content is None:
        return {}
    if not isinstance(content, Mapping):
        raise ConfigError(
            f"{path} is not a profile: expected sections such as `broker:`", address=str(path)
        )
    known = sorted(SECTIONS)
    for section in content:
        if section not in SECTIONS:
            raise ConfigError(
                f"{path}: {section!r} is no section{did_you_mean(str(section), known)}; "
                f"expected {', '.join(known)}",
                address=str(path),
            )
    return dict(content)


def _origin(origin: str, section: str, name: str) -> str:
    if origin == "option":
        return setting_named(name).flag
    if origin == "environment":
        return _variable(section, name)
    return origin


def _origin_of(fault: Any, origins: Mapping[tuple[str, str], str]) -> str:
    section, name = map(str, fault["loc"][:2])
    return origins.get((section, name), "default")


def _clause(fault: Any, origins: Mapping[tuple[str, str], str]) -> str:
    section, name, *below = map(str, fault["loc"])
    origin = _origin_of(fault, origins)
    if fault["type"] == "extra_forbidden":
        if below:
            return f"{origin}: there is no setting {'.'.join((section, name, *below))}"
        known = list(SECTIONS[section].model_fields)
        return f"{origin}: {section} has no setting {name!r}{did_you_mean(name, known)}"
    where = origin if origin == setting_named(name).flag else f"{section}.{name} ({origin})"
    text = "a secret" if _holds_secret(name) else repr(fault["input"])
    expected = re.sub("^(Value error, |Input should be )", "", fault["msg"])
    expected = expected if expected.startswith("expected") else f"expected {expected}"
    return f"{where}: found {text}, {expected}"


def _holds_secret(name: str) -> bool:
    return SecretStr in getattr(setting_named(name).field.annotation, "__args__", ())
