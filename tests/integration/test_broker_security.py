"""``tracker up --secure`` against real clients: who may connect, who may write what."""

from __future__ import annotations

import base64
import json
import re
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import paho.mqtt.client as mqtt
import psutil
import psycopg
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from tests.support.mqtt_device import signed, topic_of
from tests.support.secure import WAIT_S, SecureWorld, publish, record
from tests.support.stack import STOP_S, start_stack
from tests.support.waiting import wait_until
from tracker.embedded import children

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def secure(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SecureWorld]:
    """A secured stack, shared by the tests of this file: use devices of your own."""
    running = start_stack(tmp_path_factory.mktemp("secure") / "data", "--secure")
    yield SecureWorld(running)
    children.end(running.process, timeout_s=STOP_S)


def broker_process(secure: SecureWorld) -> psutil.Process:
    family = psutil.Process(secure.stack.process.pid).children(recursive=True)
    return next(p for p in family if p.name() == "mosquitto")


# ---------------------------------------------------------------- passwords


def test_a_device_registered_at_run_time_is_let_in_without_a_restart(secure: SecureWorld) -> None:
    broker = broker_process(secure)
    made = secure.registered("new-1")
    secure.wait_admitted("new-1", secure.login(made))
    assert secure.pub("new-1", record(1), secure.login(made)).returncode == 0
    wait_until(lambda: secure.stored("new-1") == {1}, WAIT_S, "its record")
    assert broker_process(secure) == broker


@pytest.mark.parametrize("version", ["5", "311"])
def test_nobody_writes_with_another_devices_credentials(secure: SecureWorld, version: str) -> None:
    victim, thief = f"victim-{version}", f"thief-{version}"
    of_victim = secure.login(secure.registered(victim))
    of_thief = secure.login(secure.registered(thief))
    secure.wait_admitted(victim, of_victim)
    secure.wait_admitted(thief, of_thief)

    for channel in ("tlm", "evt", "state", "rsp"):
        done = secure.pub(victim, record(7), of_thief, channel=channel, version=version)
        # Under 3.1.1 a denial looks like success: the proof is what is not stored.
        assert ("Not authorized" in done.stderr) == (version == "5")
    assert secure.pub(victim, record(1), of_victim, version=version).returncode == 0
    wait_until(lambda: 1 in secure.stored(victim), WAIT_S, "the rightful record")
    assert secure.stored(victim) == {1}
    assert secure.quarantined(victim) == []
    assert secure.stored(thief) == set()


def test_nobody_comes_in_without_proof(secure: SecureWorld) -> None:
    made = secure.registered("proof-1")
    right = secure.login(made)
    secure.wait_admitted("proof-1", right)
    wrong = [*secure.tls, "-u", "proof-1", "-P", "guessed"]
    nameless = [*secure.tls]
    no_password = [*secure.tls, "-u", "proof-1"]
    for options in (wrong, nameless, no_password):
        done = secure.pub("proof-1", record(1), options)
        assert done.returncode != 0
        assert "Not authorized" in done.stderr or "not authorised" in done.stderr
    without_tls = ["-u", "proof-1", "-P", made["mqtt"]["password"]]
    for port in (secure.mqtt["port"], secure.mqtt["certificates_port"]):
        assert secure.pub("proof-1", record(1), without_tls, port=port).returncode != 0
    # A password is no certificate.
    on_certificates = secure.mqtt["certificates_port"]
    assert secure.pub("proof-1", record(1), right, port=on_certificates).returncode != 0
    assert secure.stored("proof-1") == set()
    assert secure.quarantined("proof-1") == []


def test_a_device_hears_only_its_own_commands(secure: SecureWorld) -> None:
    spy, other = secure.registered("spy-1"), secure.registered("talker-1")
    secure.wait_admitted("spy-1", secure.login(spy))
    secure.wait_admitted("talker-1", secure.login(other))
    heard: list[str] = []
    with connected(secure, spy) as client:
        client.on_message = lambda _client, _data, message: heard.append(message.topic)
        # Mosquitto grants any subscription; what the list forbids is not delivered.
        for name in ("cts/v1/#", "#", "$SYS/#", topic_of("talker-1", "gps", "cmd")):
            assert subscribed(client, name)
        polled = secure.pub("talker-1", record(1, why="poll"), secure.login(other))
        assert polled.returncode == 0
        wait_until(lambda: secure.stored("talker-1") == {1}, WAIT_S, "the other's record")
        # Its own command comes after all that it might have heard of the other.
        client.publish(topic_of("spy-1", "gps", "tlm"), json.dumps(record(1, why="poll")), qos=1)
        own = topic_of("spy-1", "gps", "cmd")
        wait_until(lambda: own in heard, WAIT_S, "the ack of its own record")
    assert set(heard) == {own}


def test_a_session_cannot_be_taken_over_by_its_name(secure: SecureWorld) -> None:
    made = secure.registered("guest-1")
    secure.wait_admitted("guest-1", secure.login(made))
    shard = topic_of("guest-1", "gps", "tlm").split("/")[2]
    taking = [*secure.login(made), "-i", f"tracker-ingest-shard-{shard}"]
    log = secure.stack.home / "logs/mosquitto.log"
    before = log.stat().st_size
    assert secure.pub("guest-1", record(1), taking).returncode == 0
    wait_until(lambda: secure.stored("guest-1") == {1}, WAIT_S, "ingest to be there still")
    assert b"tracker-ingest" not in log.read_bytes()[before:]


def test_a_withdrawn_login_ends_the_connection(secure: SecureWorld) -> None:
    made = secure.registered("gone-1")
    secure.wait_admitted("gone-1", secure.login(made))
    ended = threading.Event()
    with connected(secure, made) as client:
        client.on_disconnect = lambda *_: ended.set()
        secure.call("DELETE", "/devices/gone-1/broker-login")
        assert ended.wait(WAIT_S), "the connection is still open"
    assert not secure.admits("gone-1", secure.login(made))
    again = {"mqtt": secure.call("POST", "/devices/gone-1/broker-login")}
    secure.wait_admitted("gone-1", secure.login(again))
    assert not secure.admits("gone-1", secure.login(made))


def test_owntracks_topics_are_the_devices_own(secure: SecureWorld) -> None:
    made = secure.registered("anna-phone-1")
    secure.wait_admitted("anna-phone-1", secure.login(made))
    port, login = secure.mqtt["port"], secure.login(made)
    for own in ("owntracks/anna/phone-1", "owntracks/anna-phone/1", "owntracks/anna/phone-1/event"):
        assert "Not authorized" not in publish(port, own, b"{}", *login).stderr, own
    for other in ("owntracks/anna/phone", "owntracks/anna-phone-1/x", "traccar/positions"):
        assert "Not authorized" in publish(port, other, b"{}", *login).stderr, other


def test_traccar_writes_its_own_topic_and_nothing_else(secure: SecureWorld) -> None:
    services = secure.mqtt["services"]
    user = "tracker.traccar"
    login = [*secure.tls, "-u", user, "-P", services["users"][user]]
    done = publish(services["port"], "traccar/positions", b"{}", *login)
    assert (done.returncode, done.stderr) == (0, "")
    for other in (topic_of("any", "gps", "tlm"), topic_of("any", "gps", "cmd")):
        assert "Not authorized" in publish(services["port"], other, b"{}", *login).stderr


def test_devices_registered_in_one_moment_are_all_let_in(secure: SecureWorld) -> None:
    made = [secure.registered(f"rush-{i}") for i in range(6)]
    for one in made:
        secure.wait_admitted(one["id"], secure.login(one))


# ---------------------------------------------------------------- certificates


def issue(secure: SecureWorld, device: str) -> None:
    ca_tool(secure, "issue", device)


def ca_tool(secure: SecureWorld, *words: str) -> None:
    command = [sys.executable, "-m", "tracker.cli", "ca", *words, "--dir", str(secure.ca)]
    subprocess.run(command, check=True, capture_output=True, cwd=ROOT, timeout=180)


def test_a_certificate_opens_its_own_topic_only(secure: SecureWorld) -> None:
    port = secure.mqtt["certificates_port"]
    for device in ("cert-1", "cert-2"):
        assert secure.registered(device, broker_login=False)["mqtt"] is None
        issue(secure, device)
    own = secure.by_certificate("cert-1")
    forged = secure.pub("cert-2", record(9), own, port=port)
    assert "Not authorized" in forged.stderr
    named = secure.pub("cert-2", record(9), [*own, "-u", "cert-2", "-P", "x"], port=port)
    assert "Not authorized" in named.stderr
    assert secure.pub("cert-1", record(1), own, port=port).returncode == 0
    wait_until(lambda: secure.stored("cert-1") == {1}, WAIT_S, "the record of its own")
    assert secure.stored("cert-2") == set()
    assert secure.quarantined("cert-2") == []


def test_a_revoked_certificate_is_refused_without_a_restart(secure: SecureWorld) -> None:
    port = secure.mqtt["certificates_port"]
    broker = broker_process(secure)
    for device in ("lost-1", "kept-1"):
        secure.registered(device, broker_login=False)
        issue(secure, device)
        secure.wait_admitted(device, secure.by_certificate(device), port)
    with holding(secure, "lost-1") as still_open:
        ca_tool(secure, "revoke", "lost-1")
        # A connection from before stays open and may do nothing any more.
        wait_until(
            lambda: not accepted(still_open, topic_of("lost-1", "gps", "rsp"), b"x"),
            WAIT_S,
            "the revocation to hold",
        )
        own = topic_of("lost-1", "gps", "tlm")
        assert not accepted(still_open, own, json.dumps(record(5)).encode())
    # A new one is refused.
    lost = secure.by_certificate("lost-1")
    assert secure.pub("lost-1", record(6), lost, port=port).returncode != 0
    assert (
        secure.pub("kept-1", record(1), secure.by_certificate("kept-1"), port=port).returncode == 0
    )
    wait_until(lambda: secure.stored("kept-1") == {1}, WAIT_S, "the record of the other")
    assert secure.stored("lost-1") == set()
    assert broker_process(secure) == broker

    issue(secure, "lost-1")
    secure.wait_admitted("lost-1", secure.by_certificate("lost-1"), port)


def test_a_strangers_certificate_is_refused(secure: SecureWorld, tmp_path: Path) -> None:
    secure.registered("real-1", broker_login=False)
    for words in (["init"], ["issue", "real-1"]):
        command = [sys.executable, "-m", "tracker.cli", "ca", *words, "--dir", str(tmp_path / "ca")]
        subprocess.run(command, check=True, capture_output=True, cwd=ROOT)
    files = tmp_path / "ca/devices"
    options = [*secure.tls, "--cert", str(files / "real-1.crt"), "--key", str(files / "real-1.key")]
    port = secure.mqtt["certificates_port"]
    assert secure.pub("real-1", record(1), options, port=port).returncode != 0
    assert secure.stored("real-1") == set()


# ---------------------------------------------------------------- signatures


def test_what_is_not_authentic_is_kept_apart_and_never_acknowledged(secure: SecureWorld) -> None:
    made = secure.registered("seal-1", "seal")
    other = secure.registered("seal-2", "seal")
    secure.wait_admitted("seal-1", secure.login(made))
    key, topic = made["key"], topic_of("seal-1", "seal", "tlm")
    old = secure.call("POST", "/devices/seal-1/keys", json={})
    assert old["kid"] == "2"
    secure.call("DELETE", "/devices/seal-1/keys/2")
    before = secure.call("GET", "/devices/seal-1")["trust"]

    def sealed(seq: int, of: dict[str, Any], on: str = topic, **more: Any) -> bytes:
        body = json.dumps(record(seq, **more)).encode()
        return signed(on, body, kid=more.pop("kid", of["kid"]), secret_b64=of["secret_b64"])

    good = sealed(1, key, why="poll")
    broken = bytearray(sealed(2, key))
    broken[20] ^= 1
    sent = {
        "mac_missing": json.dumps(record(3)).encode(),
        "mac_wrong": bytes(broken),
        "mac_unknown_key": sealed(4, {**key, "kid": "9"}),
        "mac_expired_key": sealed(5, old),
        # Signed rightly by another device, for its own topic.
        "mac_wrong ": sealed(6, other["key"], topic_of("seal-2", "seal", "tlm")),
        # Signed rightly by this device, for another channel.
        "mac_wrong  ": sealed(7, key, topic_of("seal-1", "seal", "evt")),
    }
    heard: list[dict[str, Any]] = []
    with connected(secure, made) as client:
        client.on_message = lambda _client, _data, message: heard.append(
            json.loads(message.payload)
        )
        assert subscribed(client, topic_of("seal-1", "seal", "cmd"))
        for payload in sent.values():
            client.publish(topic, payload, qos=1).wait_for_publish(WAIT_S)
        # The same message twice is the same record: merged; with another body it is a conflict.
        for payload in (good, good, sealed(1, key, why="poll", sleep_s=1)):
            client.publish(topic, payload, qos=1).wait_for_publish(WAIT_S)
        expected = [*(reason.strip() for reason in sent), "identity_conflict"]
        wait_until(
            lambda: secure.quarantined("seal-1") == expected, WAIT_S, "all of it in quarantine"
        )
        wait_until(lambda: heard, WAIT_S, "the ack of the good one")
    assert secure.stored("seal-1") == {1}
    assert {(ack["upto"], ack["high"]) for ack in heard if ack["op"] == "ack"} == {(1, 1)}

    device = secure.call("GET", "/devices/seal-1")
    assert device["trust"] < before
    assert device["health"]["quarantined"] == len(expected)
    counted = metric(secure, "tracker_quarantine_records")
    assert {"mac_missing", "mac_wrong", "mac_unknown_key", "mac_expired_key"} <= counted.keys()


def test_a_replay_under_another_device_is_refused(secure: SecureWorld) -> None:
    first = secure.registered("echo-1", "seal")
    second = secure.registered("echo-2", "seal")
    secure.wait_admitted("echo-2", secure.login(second))
    heard = signed(
        topic_of("echo-1", "seal", "tlm"),
        json.dumps(record(1)).encode(),
        kid="1",
        secret_b64=first["key"]["secret_b64"],
    )
    done = secure.pub("echo-2", heard, secure.login(second), kind="seal")
    assert done.returncode == 0
    wait_until(
        lambda: secure.quarantined("echo-2") == ["mac_wrong"], WAIT_S, "the replay in quarantine"
    )
    assert secure.stored("echo-2") == secure.stored("echo-1") == set()


def test_an_old_key_is_good_until_it_expires(secure: SecureWorld) -> None:
    made = secure.registered("turn-1", "seal")
    secure.wait_admitted("turn-1", secure.login(made))
    new = secure.call("POST", "/devices/turn-1/keys")
    topic = topic_of("turn-1", "seal", "tlm")
    for seq, key in ((1, made["key"]), (2, new)):
        body = json.dumps(record(seq)).encode()
        payload = signed(topic, body, kid=key["kid"], secret_b64=key["secret_b64"])
        assert secure.pub("turn-1", payload, secure.login(made), kind="seal").returncode == 0
    wait_until(lambda: secure.stored("turn-1") == {1, 2}, WAIT_S, "records under both keys")
    assert secure.quarantined("turn-1") == []


def test_a_device_must_sign_from_when_it_is_said(secure: SecureWorld) -> None:
    made = secure.registered("sign-1")
    secure.wait_admitted("sign-1", secure.login(made))
    assert secure.pub("sign-1", record(1), secure.login(made)).returncode == 0
    wait_until(lambda: secure.stored("sign-1") == {1}, WAIT_S, "the unsigned record")
    secure.call("PATCH", "/devices/sign-1", json={"hmac_required": True})
    assert secure.pub("sign-1", record(2), secure.login(made)).returncode == 0
    wait_until(lambda: secure.quarantined("sign-1") == ["mac_missing"], WAIT_S, "the refusal")
    assert secure.stored("sign-1") == {1}


# ---------------------------------------------------------------- the whole way


def test_the_simulator_drives_through_tls_password_and_signature(secure: SecureWorld) -> None:
    made = secure.registered("SIM-SEAL", "seal")
    secure.wait_admitted("SIM-SEAL", secure.login(made))
    key = f"{made['key']['kid']}:{base64.b64decode(made['key']['secret_b64']).hex()}"
    command = [sys.executable, "-m", "firmware_sim", "trip", "--seal", "SIM-SEAL", "--key", key]
    command += ["--point", "76.90,43.25", "--point", "77.10,43.30", "--start", "now-2h"]
    command += ["--host", "127.0.0.1", "--port", str(secure.mqtt["port"])]
    command += ["--tls-ca", secure.mqtt["tls_ca"], "--username", "SIM-SEAL"]
    command += ["--password", made["mqtt"]["password"]]
    command += ["--flat-out", "--exit-when-acked", "--ack-timeout", "120"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=240)
    assert done.returncode == 0, done.stderr + done.stdout
    with psycopg.connect(secure.stack.dsn) as conn:
        row = conn.execute(
            "SELECT count(*), count(coalesce(message_id::text, topic))"
            " FROM telemetry JOIN devices USING (device_no)"
            " WHERE id = 'SIM-SEAL'"
        ).fetchone()
    assert row is not None
    assert row[0] == row[1] > 5
    assert secure.quarantined("SIM-SEAL") == []


def test_secrets_are_for_their_owner_only(secure: SecureWorld) -> None:
    issue(secure, "mode-1")
    home = secure.stack.home
    secrets = [home / "broker-users.json", home / "ca/ca.key", home / "ca/devices/mode-1.key"]
    secrets += [*home.rglob("mosquitto/passwords"), *home.rglob("mosquitto/tls/server.key")]
    assert len(secrets) == 5
    assert {path.name: path.stat().st_mode & 0o777 for path in secrets} == {
        path.name: 0o600 for path in secrets
    }
    with psycopg.connect(secure.stack.dsn) as conn:
        hashes = [h for (h,) in conn.execute("SELECT password_hash FROM broker_logins")]
    assert hashes
    assert all(re.fullmatch(r"\$7\$101\$[\w+/=]{16}\$[\w+/=]{88}", h) for h in hashes)


def test_a_fallen_broker_comes_back_secured(secure: SecureWorld) -> None:
    made = secure.registered("back-1")
    secure.wait_admitted("back-1", secure.login(made))
    fallen = broker_process(secure)
    fallen.kill()
    wait_until(lambda: secure.admits("back-1", secure.login(made)), 30, "the broker to be back")
    assert broker_process(secure) != fallen
    assert secure.pub("back-1", record(1), secure.tls).returncode != 0
    wait_until(lambda: ingested(secure, "back-1", made), 40, "ingest to be back")


def ingested(secure: SecureWorld, device: str, made: dict[str, Any]) -> bool:
    """Send a record, as often as needed: the broker keeps none for a session it has lost."""
    secure.pub(device, record(1), secure.login(made))
    return secure.stored(device) == {1}


# ---------------------------------------------------------------- clients


@contextmanager
def connected(secure: SecureWorld, made: dict[str, Any]) -> Iterator[mqtt.Client]:
    """A device's connection by password."""
    login = made["mqtt"]
    client = mqtt.Client(CallbackAPIVersion.VERSION2, protocol=mqtt.MQTTv5)
    client.username_pw_set(login["username"], login["password"])
    client.tls_set(ca_certs=secure.mqtt["tls_ca"])
    with running(client, secure.mqtt["port"]):
        yield client


@contextmanager
def holding(secure: SecureWorld, device: str) -> Iterator[mqtt.Client]:
    """A device's connection by certificate."""
    files = secure.ca / "devices"
    client = mqtt.Client(CallbackAPIVersion.VERSION2, protocol=mqtt.MQTTv5)
    context = ssl.create_default_context(cafile=secure.mqtt["tls_ca"])
    context.load_cert_chain(files / f"{device}.crt", files / f"{device}.key")
    client.tls_set_context(context)
    with running(client, secure.mqtt["certificates_port"]):
        yield client


@contextmanager
def running(client: mqtt.Client, port: int) -> Iterator[None]:
    up = threading.Event()
    client.on_connect = lambda *_: up.set()
    client.connect("127.0.0.1", port)
    client.loop_start()
    try:
        assert up.wait(WAIT_S), "no connection"
        yield
    finally:
        client.disconnect()
        client.loop_stop()


def accepted(client: mqtt.Client, topic: str, payload: bytes) -> bool:
    """Whether the broker takes a message, by the reason code of its answer."""
    answers: list[bool] = []
    told = threading.Event()

    def on_publish(_client: Any, _data: Any, _mid: Any, code: Any, _props: Any) -> None:
        answers.append(not code.is_failure)
        told.set()

    client.on_publish = on_publish
    client.publish(topic, payload, qos=1)
    assert told.wait(WAIT_S), "no answer to the message"
    return answers[0]


def subscribed(client: mqtt.Client, topic: str) -> bool:
    """Whether the broker grants a subscription."""
    answers: list[bool] = []
    told = threading.Event()

    def on_subscribe(_client: Any, _data: Any, _mid: Any, codes: Any, _props: Any) -> None:
        answers.append(not codes[0].is_failure)
        told.set()

    client.on_subscribe = on_subscribe
    client.subscribe(topic, qos=1)
    assert told.wait(WAIT_S), "no answer to the subscription"
    return answers[0]


def metric(secure: SecureWorld, name: str) -> dict[str, float]:
    """A metric by its one label."""
    text = httpx.get(f"{secure.stack.http}/metrics", timeout=10).text
    found = re.findall(rf'^{name}\{{\w+="(\w+)"\}} (\S+)$', text, re.MULTILINE)
    return {label: float(value) for label, value in found}
