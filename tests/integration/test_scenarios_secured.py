"""A scenario against a secured stack: passwords from the set-up, and client certificates."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.support.secure import SecureWorld
from tests.support.stack import start_stack

ROOT = Path(__file__).parents[2]
SCENE = {
    "name": "secured",
    "begin": "now-4h",
    "roads": {"a2": {"line": [[80.0, 44.2], [79.8, 44.2]]}},
    "deliveries": [{"group": "g", "count": 2, "road": "a2", "departures": {"over_hours": 1}}],
}


@pytest.fixture(scope="module")
def secure(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SecureWorld]:
    """A secured stack, shared by the tests of this file."""
    running = start_stack(tmp_path_factory.mktemp("secure") / "data", "--secure")
    yield SecureWorld(running)
    running.stop()


def simulator(*words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "firmware_sim", *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=200, check=False)


def run(secure: SecureWorld, folder: Path, port: int, *words: str) -> list[str]:
    """The command that plays the scenario."""
    file = folder / "scene.yaml"
    file.write_text(yaml.safe_dump(SCENE))
    admin = secure.stack.info["admin"]
    office = ["--http", secure.stack.http, "--user", admin["username"]]
    office += ["--password", admin["password"], "--mqtt", f"127.0.0.1:{port}"]
    return ["run", str(file), *office, "--ca", secure.mqtt["tls_ca"], "--flat-out", *words]


def test_devices_log_in_with_the_passwords_of_their_registration(
    secure: SecureWorld, tmp_path: Path
) -> None:
    done = simulator(*run(secure, tmp_path, secure.mqtt["port"]))
    assert done.returncode == 0, done.stderr + done.stdout
    summary = json.loads(done.stdout.splitlines()[-1])
    assert summary["made"] == summary["acked"] > 20
    for n in (1, 2):
        assert secure.quarantined(f"{summary['prefix']}-{n:05d}-S1") == []


def test_devices_show_their_certificates(secure: SecureWorld, tmp_path: Path) -> None:
    file = tmp_path / "scene.yaml"
    file.write_text(yaml.safe_dump(SCENE))
    listed = simulator("check", str(file), "--prefix", "certified", "--list-devices")
    ids = listed.stdout.split()
    assert len(ids) == 4
    certificates = secure.ca / "devices"
    words = ["--prefix", "certified", "--cert-dir", str(certificates)]
    port = secure.mqtt["certificates_port"]
    certificates.mkdir(exist_ok=True)
    missing = simulator(*run(secure, tmp_path, port, *words))
    assert missing.returncode == 2
    assert "give every device a certificate (tracker ca issue certified-" in missing.stderr
    assert missing.stderr.count("\n") == 1
    for name in ids:
        command = [sys.executable, "-m", "tracker.cli", "ca", "issue", name, "--dir"]
        subprocess.run([*command, str(secure.ca)], check=True, capture_output=True, cwd=ROOT)
    done = simulator(*run(secure, tmp_path, port, *words))
    assert done.returncode == 0, done.stderr + done.stdout
    summary = json.loads(done.stdout.splitlines()[-1])
    assert summary["made"] == summary["acked"] > 20


def test_a_broker_of_another_authority_is_not_trusted(secure: SecureWorld, tmp_path: Path) -> None:
    stranger = tmp_path / "ca"
    command = [sys.executable, "-m", "tracker.cli", "ca", "init", "--dir", str(stranger)]
    subprocess.run(command, check=True, capture_output=True, cwd=ROOT)
    words = run(secure, tmp_path, secure.mqtt["port"])
    words[words.index("--ca") + 1] = str(stranger / "ca.crt")
    done = simulator(*words)
    assert done.returncode == 2, done.stdout
    assert "do not trust each other" in done.stderr
    assert done.stderr.count("\n") == 1
