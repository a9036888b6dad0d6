"""docker-compose.yml agrees with the settings, the embedded services and the command line."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from tracker.cli import app
from tracker.embedded.mosquitto import LIMITS
from tracker.embedded.postgres import tuning
from tracker.settings import PREFIX, Settings

ROOT = Path(__file__).parents[2]
PROCESSES = ("ingest", "evaluate", "watch", "api")


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
    return loaded


@pytest.fixture(scope="module")
def broker_config() -> dict[str, str]:
    lines = (ROOT / "docker/mosquitto.conf").read_text().splitlines()
    pairs = (line.split(maxsplit=1) for line in lines if line and not line.startswith("#"))
    return dict(pairs)


def test_every_part_is_there(compose: dict[str, Any]) -> None:
    parts = {"postgis", "mosquitto", "migrate", "simulator", *PROCESSES}
    assert set(compose["services"]) == parts
    assert compose["services"]["simulator"]["profiles"] == ["simulator"]


def test_every_setting_exists_and_is_valid(compose: dict[str, Any]) -> None:
    for name in (*PROCESSES, "migrate", "simulator"):
        environment = _environment(compose, name)
        unknown = {n for n in environment if n.removeprefix(PREFIX).lower() not in _names()}
        assert not unknown, f"{name}: {unknown}"
        values = {n.removeprefix(PREFIX).lower(): v for n, v in environment.items()}
        settings = Settings.model_validate(values)
        assert settings.mqtt_host == "mosquitto"


def test_ports_agree(compose: dict[str, Any], broker_config: dict[str, str]) -> None:
    api = _environment(compose, "api")
    assert api["TRACKER_HTTP_PORT"] == str(Settings.model_fields["http_port"].default)
    assert compose["services"]["api"]["ports"] == ["127.0.0.1:8000:8000"]
    assert f":{api['TRACKER_HTTP_PORT']}/readyz" in str(compose["services"]["api"]["healthcheck"])
    port = broker_config["listener"].split()[0]
    assert api["TRACKER_MQTT_PORT"] == port == str(Settings.model_fields["mqtt_port"].default)
    assert compose["services"]["mosquitto"]["ports"] == [f"127.0.0.1:{port}:{port}"]


def test_the_broker_has_the_limits_of_the_embedded_one(broker_config: dict[str, str]) -> None:
    assert {name: broker_config.get(name) for name in LIMITS} == LIMITS


def test_the_broker_gives_ingest_all_it_may_receive() -> None:
    default = Settings.model_fields["mqtt_receive_maximum"].default
    assert int(LIMITS["max_inflight_messages"]) >= default


def test_the_server_is_tuned_as_the_embedded_one(compose: dict[str, Any]) -> None:
    command = compose["services"]["postgis"]["command"]
    given = dict(re.findall(r"-c (\w+)=(\S+)", command))
    assert given
    assert given == {name: tuning()[name] for name in given}


def test_the_server_is_new_enough(compose: dict[str, Any]) -> None:
    match = re.search(r":(\d+)-(\d+)\.(\d+)$", compose["services"]["postgis"]["image"])
    assert match
    assert int(match[1]) >= 15
    assert (int(match[2]), int(match[3])) >= (3, 3)


def test_the_services_and_the_api_are_checked_and_keep_their_data(compose: dict[str, Any]) -> None:
    for name in ("postgis", "mosquitto", "api"):
        assert compose["services"][name]["healthcheck"]["test"]
    for name in ("postgis", "mosquitto"):
        volumes = [volume.split(":")[0] for volume in compose["services"][name]["volumes"]]
        assert set(volumes) & set(compose["volumes"])


def test_processes_wait_for_what_they_need(compose: dict[str, Any]) -> None:
    for name in PROCESSES:
        needs = compose["services"][name]["depends_on"]
        assert needs["migrate"]["condition"] == "service_completed_successfully"
        assert needs["postgis"]["condition"] == "service_healthy"
        assert needs["mosquitto"]["condition"] == "service_healthy"


def test_every_command_exists(compose: dict[str, Any]) -> None:
    for name in (*PROCESSES, "simulator"):
        program, command, *options = compose["services"][name]["command"]
        assert program == "tracker"
        shown = CliRunner().invoke(app, [command, "--help"], env={"COLUMNS": "200"})
        assert shown.exit_code == 0, name
        for option in options:
            assert option.split("=")[0] in shown.output


@pytest.mark.parametrize("script", ["entrypoint", "migrate"])
def test_scripts_of_the_image_are_sound(script: str) -> None:
    path = ROOT / "docker" / script
    assert os.access(path, os.X_OK)
    assert subprocess.run(["sh", "-n", str(path)], check=False).returncode == 0
    assert f"docker/{script} " in (ROOT / "Dockerfile").read_text()


def test_the_image_is_installed_from_existing_locks() -> None:
    named = set(re.findall(r"-r (\S+\.lock)", (ROOT / "Dockerfile").read_text()))
    assert named == {"requirements.lock", "requirements-assets.lock"}
    for lock in named:
        assert (ROOT / lock).exists()


@pytest.mark.parametrize("lock", sorted(ROOT.glob("requirements*.lock")), ids=lambda p: p.name)
def test_locks_pin_by_hash_and_name_no_registry(lock: Path) -> None:
    text = lock.read_text()
    assert "://" not in text
    assert not re.search(r"^\s*--(index|extra-index|find-links|trusted)", text, re.MULTILINE)
    pins = re.findall(r"^([a-z0-9][\w.\[\],-]*)==\S+.*\\$", text, re.MULTILINE | re.IGNORECASE)
    lines = [line for line in text.splitlines() if re.match(r"[A-Za-z0-9]", line)]
    assert len(pins) == len(lines) > 0


def test_docker_itself_accepts_the_file() -> None:
    if shutil.which("docker") is None:
        pytest.skip("no docker client here")
    known = subprocess.run(["docker", "compose", "version"], capture_output=True, check=False)
    if known.returncode != 0:
        pytest.skip("the docker client here has no compose")
    checked = subprocess.run(
        ["docker", "compose", "--profile", "simulator", "config", "-q"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert checked.returncode == 0, checked.stderr


def _names() -> set[str]:
    return set(Settings.model_fields)


def _environment(compose: dict[str, Any], name: str) -> dict[str, str]:
    """A service's settings, with the defaults that compose would put in for ``${NAME:-value}``."""
    environment = compose["services"][name]["environment"]
    return {n: re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", value) for n, value in environment.items()}
