"""The project's own promises: pinned versions, hardened containers, quick start of the command."""

import importlib.metadata
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement

from streambt_spark import Cerebro, Universe, doctor
from streambt_spark import strategy_file as strategy
from streambt_spark.cli.app import app

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker" / "compose.yaml").read_text())
README = (ROOT / "README.md").read_text()
CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text()
DECISIONS = sorted((ROOT / "docs" / "decisions").glob("*.md"))
SERVICES = sorted(COMPOSE["services"].items())


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def test_constraints_pin_every_dependency() -> None:
    """Each dependency has one exact version in constraints.txt that its range allows."""
    lines = [
        x for x in (ROOT / "constraints.txt").read_text().splitlines() if not x.startswith("#")
    ]
    pinned = dict(line.split("==") for line in lines)
    groups = [PROJECT["project"]["dependencies"]]
    groups += PROJECT["project"]["optional-dependencies"].values()
    for text in (text for group in groups for text in group):
        requirement = Requirement(text)
        if requirement.name != "streambt-spark":
            assert pinned[_normal(requirement.name)] in requirement.specifier, text


def test_doctor_knows_every_extra() -> None:
    """The doctor looks at all extras that users install."""
    assert set(doctor.EXTRAS) == set(PROJECT["project"]["optional-dependencies"]) - {"dev"}


def test_licence() -> None:
    """The licence named in the project is the one in LICENSE."""
    assert PROJECT["project"]["license"] == "Apache-2.0"
    text = (ROOT / "LICENSE").read_text()
    assert "Apache License" in text
    assert "Version 2.0, January 2004" in text
    assert "APPENDIX: How to apply the Apache License" in text


def test_entry_point() -> None:
    """The installed command is the package's own main."""
    (entry,) = importlib.metadata.entry_points(group="console_scripts", name="streambt")
    assert entry.value == "streambt_spark.cli:main"


def test_help_loads_nothing_heavy() -> None:
    """`streambt --help` answers without loading Spark, pandas, NumPy or numba."""
    code = (
        "import sys; from streambt_spark.cli.app import _run; assert _run(['--help']) == 0; "
        "print({'pyspark', 'pandas', 'numpy', 'numba', 'talib', 'pyarrow'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "set()"


@pytest.mark.parametrize(("name", "service"), SERVICES)
def test_containers_are_hardened(name: str, service: dict[str, Any]) -> None:
    """A container has a read-only root, no capability, limits and a health check."""
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert "cap_add" not in service
    assert "privileged" not in service
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["mem_limit"]
    assert service["pids_limit"]
    assert "healthcheck" in service or "build" in service  # the image of our own has one


@pytest.mark.parametrize(("name", "service"), SERVICES)
def test_containers_are_private_and_pinned(name: str, service: dict[str, Any]) -> None:
    """Ports are open on the loopback only; an image has a full version for its tag."""
    assert all(port.startswith("127.0.0.1:") for port in service.get("ports", ()))
    assert re.fullmatch(r".+:\d+\.\d+(\.\d+)?", service["image"])


def test_compose_holds_no_secret() -> None:
    """Every password and key of the compose file comes from the environment."""
    for name, service in SERVICES:
        for variable, value in service.get("environment", {}).items():
            if re.search(r"PASSWORD|KEY|SECRET|TOKEN|ADDRESS", variable):
                assert re.search(r"\$\{\w+:\?", str(value)), f"{name}: {variable}"


def test_compose_starts_all_services() -> None:
    """A plain `up` starts the stores and the job, as the README says."""
    assert [name for name, service in SERVICES if "profiles" in service] == []
    assert {name for name, _ in SERVICES} == {"mongo", "s3", "kafka", "spark"}


@pytest.mark.parametrize(
    ("job", "options"),
    [
        ("live", ["--bootstrap", "--topic", "--symbols", "--interval", "--out"]),
        ("replay_to_kafka", ["--snapshot", "--bootstrap", "--topic"]),
    ],
)
def test_a_job_shows_every_option_it_needs(job: str, options: list[str]) -> None:
    """The command in a job's docstring has what it cannot do without."""
    text = (ROOT / "jobs" / f"{job}.py").read_text().partition("The options are")[0]
    assert [o for o in re.findall(r"--[a-z-]+", text) if o != "--properties-file"] == options


def test_image_runs_as_a_user() -> None:
    """The image ends as a numbered user that is not root, so an orchestrator can check it."""
    users = re.findall(r"^USER (.+)$", (ROOT / "docker" / "Dockerfile").read_text(), re.MULTILINE)
    assert int(users[-1]) > 0


def test_ci_runs_the_tests() -> None:
    """Continuous integration checks and tests, and stops at the first failure."""
    script = ROOT / ".ci" / "run"
    assert script.stat().st_mode & 0o111
    assert "set -euo pipefail" in script.read_text()
    assert script.read_text().rstrip().splitlines()[-2:] == ["make check", "make test"]


def test_readme_names_what_exists() -> None:
    """Every command, test file and make target that the README names is there."""
    commands = {c.name or c.callback.__name__ for c in app.registered_commands if c.callback}
    assert set(re.findall(r"`streambt ([a-z-]+)", README)) <= commands
    assert [p for p in re.findall(r"`(tests/[\w/.]+)`", README) if not (ROOT / p).exists()] == []
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for text in (README, CONTRIBUTING):
        assert set(re.findall(r"(?:`|^)make ([a-z-]+)", text, re.MULTILINE)) <= targets


def test_the_map_names_what_exists() -> None:
    """Every file that CONTRIBUTING sends a reader to is there, and so is every room's module."""
    paths = re.findall(r"`((?:[\w.]+/)+[\w.]*)`", CONTRIBUTING)
    rooms = re.findall(r"^\| `broker/` \|(.*)\|$", CONTRIBUTING, re.MULTILINE)
    broker = [f"core/broker/{name}.py" for name in re.findall(r"`(\w+)`", rooms[0])]
    places = (ROOT, ROOT / "streambt_spark", ROOT / "streambt_spark" / "core")
    missing = [p for p in [*paths, *broker] if not any((place / p).exists() for place in places)]
    assert missing == []


@pytest.mark.parametrize("page", DECISIONS, ids=lambda page: page.stem)
def test_decisions_are_pages(page: Path) -> None:
    """A decision has a number, a question, an answer, what it was chosen over, and one page."""
    text = page.read_text()
    assert text.startswith(f"# {int(page.name[:4])}. ")
    heads = re.findall(r"^\*\*([A-Z][\w ]+)\.\*\*", text, re.MULTILINE)
    assert {"Question", "Decision", "What follows"} <= set(heads)
    assert len(text.split()) <= 400
    for link in re.findall(r"\]\(([\w./-]+\.md)\)", text):
        assert (page.parent / link).exists()


def test_decisions_are_numbered() -> None:
    """Without a gap, so that one can be cited."""
    assert [int(page.name[:4]) for page in DECISIONS] == list(range(1, len(DECISIONS) + 1))


def test_readme_strategy_builds(tmp_path: Path) -> None:
    """The README's strategy can be loaded and its graph built."""
    block = re.search(r"```python\n(# sma_cross\.py\n.*?)```", README, re.DOTALL)
    assert block is not None
    (tmp_path / "readme.py").write_text(block[1])
    cerebro = Cerebro()
    data = cerebro.add_data(Universe(("A", "B"), "1d"))
    strategy.load(str(tmp_path / "readme.py")).build(cerebro, data, {"fast": 5})
    assert [node.function.name for node in cerebro.plan().nodes] == ["SMA", "SMA", "cross"]
