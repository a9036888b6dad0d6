"""The authority of pilots, and a broker of one's own made by ``tracker broker config``."""

from __future__ import annotations

import json
import os
import pwd
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.x509.oid import NameOID

from tests.integration.api_world import bare  # noqa: F401 - fixture
from tests.support.api import ApiWorld
from tests.support.mqtt_device import topic_of
from tests.support.secure import publish
from tests.support.waiting import wait_until
from tracker.broker.ca import CertificateAuthority
from tracker.broker.rules import Login, acl_text, password_text
from tracker.embedded import children
from tracker.embedded.parts import find_mosquitto
from tracker.errors import Conflict, Invalid, NotFound, SetupError
from tracker.settings import load_settings

ROOT = Path(__file__).parents[2]


@pytest.fixture
def authority(tmp_path: Path) -> CertificateAuthority:
    made = CertificateAuthority(tmp_path / "ca")
    made.init()
    return made


# ---------------------------------------------------------------- the authority


def test_a_certificate_names_the_device(authority: CertificateAuthority) -> None:
    path, key = authority.issue("SEAL-1", days=10)
    certificate = x509.load_pem_x509_certificate(path.read_bytes())
    names = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    assert [name.value for name in names] == ["SEAL-1"]
    left = certificate.not_valid_after_utc - datetime.now(UTC)
    assert timedelta(days=9) < left <= timedelta(days=10)
    certificate.verify_directly_issued_by(
        x509.load_pem_x509_certificate(authority.certificate_path.read_bytes())
    )
    for secret in (key, authority.home / "ca.key"):
        assert secret.stat().st_mode & 0o777 == 0o600
    assert authority.home.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize(
    "name", ["", "a b", "+", "#", "a/b", "tracker.ingest", "../x", "a" * 65, "a\n"]
)
def test_only_device_ids_get_a_certificate(authority: CertificateAuthority, name: str) -> None:
    with pytest.raises(Invalid, match="no device id"):
        authority.issue(name)
    assert authority.certificates() == []


def test_revoking_takes_all_certificates_of_the_device(authority: CertificateAuthority) -> None:
    for device in ("a", "a", "b"):
        authority.issue(device)
    assert authority.revoke("a") == 2
    crl = x509.load_pem_x509_crl(authority.crl_path.read_bytes())
    revoked = {f"{one.serial_number:x}" for one in crl}
    assert revoked == {one.serial for one in authority.certificates() if one.device == "a"}
    assert authority.barred() == {"a"}
    with pytest.raises(NotFound):
        authority.revoke("a")
    authority.issue("a")
    assert authority.barred() == frozenset()


def test_each_list_of_revoked_ones_is_newer_than_the_last(authority: CertificateAuthority) -> None:
    # The broker keeps the old list beside the new one and believes the newer, by seconds.
    times = []
    for device in ("a", "b", "c"):
        authority.issue(device)
        authority.revoke(device)
        times.append(x509.load_pem_x509_crl(authority.crl_path.read_bytes()).last_update_utc)
    assert times == sorted(set(times))
    assert times[-1] <= datetime.now(UTC)


def test_an_authority_is_not_made_twice(authority: CertificateAuthority, tmp_path: Path) -> None:
    key = (authority.home / "ca.key").read_bytes()
    with pytest.raises(Conflict, match="already"):
        authority.init()
    assert (authority.home / "ca.key").read_bytes() == key
    with pytest.raises(SetupError, match="tracker ca init"):
        CertificateAuthority(tmp_path / "none").issue("a")


def test_the_brokers_certificate_is_kept_while_it_serves(
    authority: CertificateAuthority, tmp_path: Path
) -> None:
    assert authority.server(["localhost", "127.0.0.1"], tmp_path)
    assert not authority.server(["localhost"], tmp_path)
    assert authority.server(["localhost", "broker.example"], tmp_path)
    other = CertificateAuthority(tmp_path / "other")
    other.init()
    assert other.server(["localhost"], tmp_path)


# ---------------------------------------------------------------- the rules


def test_owntracks_gives_a_device_every_reading_of_its_own_name() -> None:
    lines = acl_text([Login(device="a-b-c", may_own_tracks=True), Login(device="x-y")]).splitlines()
    begin = lines.index("user a-b-c")
    assert lines[begin + 1 : begin + 5] == [
        "topic write owntracks/a/b-c",
        "topic write owntracks/a/b-c/event",
        "topic write owntracks/a-b/c",
        "topic write owntracks/a-b/c/event",
    ]
    assert "user x-y" not in lines
    assert not any(line.startswith("pattern") and "owntracks" in line for line in lines)


def test_a_barred_device_has_no_rights_left() -> None:
    lines = acl_text([Login(device="a-b", may_own_tracks=True)], barred=["a-b"]).splitlines()
    assert lines[lines.index("user a-b") + 1] == "topic deny #"
    assert lines.count("user a-b") == 1


@pytest.mark.parametrize(
    ("device", "hash_"),
    [("a:b", "$7$101$YQ==$YQ=="), ("a\nb", "$7$101$YQ==$YQ=="), ("a", "x\nb:y"), ("a", "x y")],
)
def test_no_line_of_the_password_file_can_be_smuggled_in(device: str, hash_: str) -> None:
    assert password_text({"s": "h"}, [Login(device=device, password_hash=hash_)]) == "s:h\n"


# ---------------------------------------------------------------- a broker of one's own


@contextmanager
def mosquitto(config: Path) -> Iterator[None]:
    tools = find_mosquitto()
    process = children.start([tools.program, "-c", str(config)], env=tools.env)
    try:
        yield
    finally:
        children.end(process, timeout_s=10)


def tracker(*words: str, dsn: str = "") -> str:
    env = {**os.environ, **({"TRACKER_DATABASE_URL": dsn} if dsn else {})}
    done = subprocess.run(
        [sys.executable, "-m", "tracker.cli", *words],
        env=env, capture_output=True, text=True, cwd=ROOT, timeout=180, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def broker_account() -> str:
    """Whom Mosquitto becomes: the user of its package, or nobody where it was only unpacked."""
    try:
        return pwd.getpwnam("mosquitto").pw_name
    except KeyError:
        return "nobody"


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that another account can reach, which those of pytest are not."""
    with tempfile.TemporaryDirectory(dir="/var/tmp") as name:
        Path(name).chmod(0o755)
        yield Path(name)


def configure(out: Path) -> tuple[int, list[str]]:
    found: set[int] = set()
    while len(found) < 3:  # nobody listens on one that was only found: it may be found again
        found.add(children.free_port())
    ports = [str(port) for port in found]
    words = ["broker", "config", "--out", str(out), "--port", ports[0]]
    words += ["--certificates-port", ports[1], "--services-port", ports[2]]
    if os.geteuid() == 0:
        # Started as root, Mosquitto becomes the user mosquitto before it reads what it must hide.
        words += ["--owner", broker_account()]
    tracker(*words)
    return int(ports[0]), words


def answered(done: subprocess.CompletedProcess[str]) -> bool:
    """Whether it was the broker that took or refused it: it then obeys signals too.

    Its pid file is there before it listens.
    """
    return done.returncode == 0 or "authori" in done.stderr


def test_a_configured_broker_takes_devices_of_the_database(
    bare: ApiWorld,  # noqa: F811
    database: str,
    open_folder: Path,
) -> None:
    out = open_folder
    port, words = configure(out)
    made = bare.made("/devices", {"id": "own-1", "kind": "gps"})
    login = ["--cafile", str(out / "ca/ca.crt"), "-u", "own-1", "-P", made["mqtt"]["password"]]
    topic = topic_of("own-1", "gps", "rsp")

    def sent() -> subprocess.CompletedProcess[str]:
        return publish(port, topic, b"{}", *login)

    def admitted() -> bool:
        return sent().returncode == 0

    with mosquitto(out / "mosquitto/mosquitto.conf"):
        wait_until(lambda: answered(sent()), 10, "the broker")
        assert not admitted()
        assert "changed; broker told" in tracker("broker", "sync", "--out", str(out), dsn=database)
        wait_until(admitted, 10, "the device to be let in")
        assert "unchanged" in tracker("broker", "sync", "--out", str(out), dsn=database)
    before = (out / "mosquitto/passwords").read_text()
    tracker(*words)
    assert (out / "mosquitto/passwords").read_text() == before


def test_traccar_may_write_where_ingest_listens_and_nowhere_else(
    open_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRACKER_TRACCAR_TOPIC", "fleet/of one/positions")
    out = open_folder
    _, words = configure(out)
    services = int(words[words.index("--services-port") + 1])
    users = json.loads((out / "users.json").read_text())
    login = ["--cafile", str(out / "ca/ca.crt"), "-u", "tracker.traccar"]
    login += ["-P", users["tracker.traccar"]]

    def sent(topic: str) -> subprocess.CompletedProcess[str]:
        return publish(services, topic, b"{}", *login)

    def refused(topic: str) -> bool:
        return "Not authorized" in sent(topic).stderr

    with mosquitto(out / "mosquitto/mosquitto.conf"):
        wait_until(lambda: answered(sent("fleet/of one/positions")), 10, "the broker")
        assert not refused("fleet/of one/positions")
        assert refused("traccar/positions")
        assert refused("fleet/of one/positions/more")
        assert refused(topic_of("own-1", "gps", "tlm"))
    acl = (out / "mosquitto/acl").read_text()
    assert "topic read fleet/of one/positions\n" in acl
    assert "traccar/positions" not in acl


@pytest.mark.parametrize("topic", ["a/+/b", "#", "a\nuser x", "a\tb", ""])
def test_a_topic_that_would_be_a_line_or_a_pattern_is_no_setting(topic: str) -> None:
    with pytest.raises(SetupError, match="TRACKER_TRACCAR_TOPIC"):
        load_settings(traccar_topic=topic)


def test_ingest_is_told_how_to_come_in(tmp_path: Path) -> None:
    tracker("broker", "config", "--out", str(tmp_path), "--host", "broker.example")
    path = tmp_path / "ingest.env"
    lines = dict(line.split("=", 1) for line in path.read_text().splitlines())
    assert path.stat().st_mode & 0o777 == 0o600
    assert lines["TRACKER_MQTT_USERNAME"] == "tracker.ingest"
    assert lines["TRACKER_MQTT_HOST"] == "broker.example"
    assert lines["TRACKER_MQTT_PORT"] == "8882"
    assert Path(lines["TRACKER_MQTT_TLS_CA"]).exists()


def test_sync_without_a_broker_says_what_to_do(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tracker.cli", "broker", "sync", "--out", str(tmp_path / "x")],
        capture_output=True, text=True, cwd=ROOT, timeout=180, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert "tracker broker config" in done.stderr
