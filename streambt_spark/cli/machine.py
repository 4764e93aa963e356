"""`streambt doctor`."""

from __future__ import annotations

import typer

from streambt_spark.cli.options import takes
from streambt_spark.cli.output import console
from streambt_spark.settings import Settings


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command()(doctor)


@takes("mongo.address", "kafka.bootstrap")
def doctor(settings: Settings) -> int:
    """Check Java, Python, packages, ports and the servers given; say the fix for what lacks."""
    from rich.table import Table

    from streambt_spark.doctor import State, examine

    table = Table("check", "state", "found", "fix", box=None)
    colours = {State.OK: "green", State.OPTIONAL: "yellow", State.MISSING: "red"}
    checks = examine(_servers(settings))
    for check in checks:
        table.add_row(
            check.name, f"[{colours[check.state]}]{check.state}[/]", check.found, check.fix
        )
    console().print(table)
    return int(any(check.state is State.MISSING for check in checks))


def _servers(settings: Settings) -> dict[str, str]:
    servers: dict[str, str] = {}
    if settings.mongo.address is not None:
        from streambt_spark.stores.mongo import servers_of

        nodes = servers_of(settings.mongo.address.get_secret_value())
        servers |= {f"MongoDB {host}": f"{host}:{port}" for host, port in nodes}
    for node in (settings.kafka.bootstrap or "").split(","):
        if node.strip():
            servers[f"Kafka {node.strip()}"] = node.strip()
    return servers
