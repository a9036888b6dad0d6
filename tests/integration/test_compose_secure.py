"""docker-compose.secure.yml over docker-compose.yml: what it publishes, hides and hands over."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from tracker.broker.rules import INGEST_USER
from tracker.cli import app
from tracker.settings import PREFIX, Settings

ROOT = Path(__file__).parents[2]
FILES = ("docker-compose.yml", "docker-compose.secure.yml")
OUT = "/srv/broker"


class Override(list[Any]):
    """A list that takes the place of the one before instead of adding to it."""


class Loader(yaml.SafeLoader):
    """YAML with compose's own tag."""


def _override(loader: yaml.SafeLoader, node: yaml.SequenceNode) -> Override:
    return Override(loader.construct_sequence(node))


Loader.add_constructor("!override", _override)


REPLACED = ("command", "test")
"""Lists of words that compose replaces as a whole."""


def merged(under: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    """As compose puts two files together: mappings by key, lists one after the other."""
    result = dict(under)
    for key, value in over.items():
        before = result.get(key)
        if isinstance(before, dict) and isinstance(value, dict):
            result[key] = merged(before, value)
        elif (
            isinstance(before, list)
            and isinstance(value, list)
            and not isinstance(value, Override)
            and key not in REPLACED
        ):
            result[key] = [*before, *value]
        else:
            result[key] = value
    return result


@pytest.fixture(scope="module")
def services() -> dict[str, dict[str, Any]]:
    under, over = (yaml.load((ROOT / name).read_text(), Loader) for name in FILES)
    found: dict[str, dict[str, Any]] = merged(under, over)["services"]
    return found


@pytest.fixture(scope="module")
def written(services: dict[str, dict[str, Any]], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the service's own command writes, in a folder of the test's."""
    out = tmp_path_factory.mktemp("broker")
    words = [
        re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", word).replace(f"--out={OUT}", f"--out={out}")
        for word in services["broker-config"]["command"]
    ]
    assert words[0] == "tracker"
    done = subprocess.run(
        [sys.executable, "-m", "tracker.cli", *words[1:]],
        cwd=ROOT, capture_output=True, text=True, check=False, timeout=240,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return out


def listeners(written: Path) -> dict[str, str]:
    """Port and address of each listener."""
    text = (written / "mosquitto/mosquitto.conf").read_text()
    return dict(re.findall(r"^listener (\d+) ?(\S*)$", text, re.MULTILINE))


def test_the_broker_publishes_its_devices_listeners_and_nothing_else(
    services: dict[str, dict[str, Any]], written: Path
) -> None:
    published = services["mosquitto"]["ports"]
    assert published == ["8883:8883", "8884:8884"]
    assert {port.split(":")[1] for port in published} < set(listeners(written))
    (inside,) = set(listeners(written)) - {port.split(":")[1] for port in published}
    assert listeners(written)[inside] == "0.0.0.0"
    assert services["api"]["environment"]["TRACKER_MQTT_PORT"] == inside
    assert inside in services["mosquitto"]["healthcheck"]["test"]
    config = (written / "mosquitto/mosquitto.conf").read_text()
    assert "allow_anonymous false" in config
    assert "listener 1883" not in config


def test_the_broker_sees_what_it_reads_and_no_secret_of_others(
    services: dict[str, dict[str, Any]], written: Path
) -> None:
    (mount,) = services["mosquitto"]["volumes"]
    assert mount == f"broker:{OUT}/mosquitto"
    for name in ("broker-config", "broker-sync"):
        assert mount in services[name]["volumes"]
    config = (written / "mosquitto/mosquitto.conf").read_text()
    named = re.findall(r"^(?:\w+_?file|persistence_location) (\S+)$", config, re.MULTILINE)
    assert len(named) > 8
    assert all(Path(path).is_relative_to(written / "mosquitto") for path in named)
    assert f"{OUT}/mosquitto/mosquitto.conf" in services["mosquitto"]["command"]
    hidden = {p.name for p in written.rglob("*")} & {"ca.key", "users.json", "ingest.env"}
    assert hidden == {"ca.key", "users.json", "ingest.env"}
    for name in hidden:
        assert not list((written / "mosquitto").rglob(name))


def test_the_broker_has_the_number_of_those_who_write_for_it(
    services: dict[str, dict[str, Any]],
) -> None:
    uid, gid = services["mosquitto"]["user"].split(":")
    dockerfile = (ROOT / "Dockerfile").read_text()
    assert f"--uid {uid} --gid {gid}" in dockerfile
    assert f"chown -R tracker:tracker {OUT}" in dockerfile
    assert services["broker-sync"]["pid"] == "service:mosquitto"


def test_ingest_comes_in_with_what_was_written_for_it(
    services: dict[str, dict[str, Any]], written: Path, tmp_path: Path
) -> None:
    given = dict(services["ingest"]["environment"])
    assert given["BROKER_ENV"] == f"{OUT}/ingest.env"
    assert f"broker-secrets:{OUT}:ro" in services["ingest"]["volumes"]
    environment = {n: re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", v) for n, v in given.items()}
    environment |= {"BROKER_ENV": str(written / "ingest.env"), "TRACKER_SECRET_KEY": "x" * 32}
    shown = subprocess.run(
        ["sh", str(ROOT / "docker/entrypoint"), sys.executable, "-c",
         "import os, json; print(json.dumps(dict(os.environ)))"],
        env={"PATH": os.environ["PATH"], **environment},
        capture_output=True, text=True, check=False, cwd=tmp_path, timeout=240,
    )  # fmt: skip
    assert shown.returncode == 0, shown.stderr
    reached = json.loads(shown.stdout)
    settings = Settings.model_validate(
        {n.removeprefix(PREFIX).lower(): v for n, v in reached.items() if n.startswith(PREFIX)}
    )
    assert (settings.mqtt_host, settings.mqtt_port) == ("mosquitto", 8882)
    assert settings.mqtt_username == INGEST_USER
    assert settings.mqtt_password == json.loads((written / "users.json").read_text())[INGEST_USER]
    assert settings.mqtt_tls_ca == written / "ca/ca.crt"


def test_every_setting_and_command_exists(services: dict[str, dict[str, Any]]) -> None:
    known = set(Settings.model_fields)
    for name in ("broker-config", "broker-sync", "ingest", "evaluate", "watch", "api", "migrate"):
        own = services[name].get("environment", {})
        assert {n.removeprefix(PREFIX).lower() for n in own if n.startswith(PREFIX)} <= known
    for name in ("broker-config", "broker-sync"):
        program, *words = services[name]["command"]
        options = [word for word in words if word.startswith("--")]
        commands = [word for word in words if not word.startswith("--")]
        shown = CliRunner().invoke(app, [*commands, "--help"], env={"COLUMNS": "200"})
        assert (program, shown.exit_code) == ("tracker", 0)
        for option in options:
            assert option.split("=")[0] in shown.output


def test_files_come_before_the_broker_and_the_broker_before_its_users(
    services: dict[str, dict[str, Any]],
) -> None:
    needs = services["mosquitto"]["depends_on"]
    assert needs == {"broker-config": {"condition": "service_completed_successfully"}}
    assert services["broker-sync"]["depends_on"]["mosquitto"]["condition"] == "service_healthy"
    assert services["ingest"]["depends_on"]["mosquitto"]["condition"] == "service_healthy"


def test_docker_itself_accepts_the_files() -> None:
    if shutil.which("docker") is None:
        pytest.skip("no docker client here")
    known = subprocess.run(["docker", "compose", "version"], capture_output=True, check=False)
    if known.returncode != 0:
        pytest.skip("the docker client here has no compose")
    files = [word for name in FILES for word in ("-f", name)]
    checked = subprocess.run(
        ["docker", "compose", *files, "config", "-q"],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert checked.returncode == 0, checked.stderr
