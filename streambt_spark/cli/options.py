"""How a command takes settings: its options are made of them, and it is called with all merged.

All values arrive as text and None stands for "not given", so that one place, the configuration,
checks and converts them whether they come from an option, the environment or a profile.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import wraps
from typing import Annotated, Any, Concatenate, ParamSpec

import typer

from streambt_spark.config import load
from streambt_spark.settings import SECTIONS, Setting, Settings, setting_named, settings_of

P = ParamSpec("P")
Command = Callable[Concatenate[Settings, P], int | None]

_PANEL = "Configuration"
_Profile = Annotated[
    str | None,
    typer.Option(
        "--profile",
        envvar="STREAMBT_PROFILE",
        metavar="NAME|FILE",
        help="YAML profile: conf/NAME.yaml or a file.",
        rich_help_panel=_PANEL,
        show_default=False,
    ),
]
_ShowConfig = Annotated[
    bool,
    typer.Option(
        "--show-config",
        help="Print the merged settings, secrets masked, and stop.",
        rich_help_panel=_PANEL,
    ),
]


def takes(
    *names: str,
    without: Sequence[str] = (),
    argument: str = "",
    defaults: Mapping[str, object] | None = None,
) -> Callable[[Command[P]], Callable[..., int | None]]:
    """Give a command the options of settings, and call it with the merged Settings.

    `names` are sections (`broker`) and settings (`data.interval`), `without` those of a section
    that the command does not take; `argument` is the one that is given without a flag; `defaults`
    are the command's own. What else the command takes is left to it. With --show-config it is not
    called.
    """
    settings = [s for s in _named(names) if s.path not in without]

    def decorate(command: Command[P]) -> Callable[..., int | None]:
        own = list(inspect.signature(command, eval_str=True).parameters.values())[1:]
        kept = [parameter.name for parameter in own]

        @wraps(command)
        def run(**values: Any) -> int | None:
            options = {s.name: values[s.name] for s in settings}
            loaded = load(options, values["profile"], defaults)
            if values["show_config"]:
                typer.echo(loaded.text)
                return None
            return command(loaded.settings, **{name: values[name] for name in kept})  # type: ignore[call-arg]

        parameters = [
            *(parameter.replace(kind=parameter.KEYWORD_ONLY) for parameter in own),
            *(_keyword(s.name, _option(s, plain=s.path == argument)) for s in settings),
            _keyword("profile", _Profile),
            _keyword("show_config", _ShowConfig, default=False),
        ]
        run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
        return run

    return decorate


def _named(names: Sequence[str]) -> Iterator[Setting]:
    """Yield the settings that the names stand for, in their order."""
    for name in names:
        if name in SECTIONS:
            yield from settings_of(name)
        else:
            yield setting_named(name.partition(".")[2])


def _keyword(name: str, annotation: Any, *, default: object = None) -> inspect.Parameter:
    kind = inspect.Parameter.KEYWORD_ONLY
    return inspect.Parameter(name, kind, default=default, annotation=annotation)


def _option(setting: Setting, *, plain: bool) -> Any:
    """Return the annotation by which typer makes the setting's option, or its plain argument."""
    shown: dict[str, Any] = {"help": setting.help, "show_default": False}
    if plain:
        return Annotated[str | None, typer.Argument(metavar=setting.metavar, **shown)]
    shown["rich_help_panel"] = setting.panel
    if setting.switch:
        switch = f"{setting.flag}/--no-{setting.flag.removeprefix('--')}"
        return Annotated[bool | None, typer.Option(switch, **shown)]
    value = list[str] | None if setting.option.repeated else str | None
    return Annotated[value, typer.Option(setting.flag, metavar=setting.metavar, **shown)]
