"""Forged, replayed, under a wrong key, across devices: none stored, all kept, somebody is told.

Over ``tracker up --secure`` with Mosquitto's own publisher, as a forger with stolen credentials.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.support.customs import Customs
from tests.support.mqtt_device import signed, topic_of
from tests.support.secure import WAIT_S, SecureWorld, record
from tests.support.stack import STOP_S, start_stack
from tests.support.waiting import wait_until
from tracker.embedded import children

CODE = "identity_conflict"
LINE = [(76.9, 43.25), (77.4, 43.3), (77.9, 43.5)]


@pytest.fixture(scope="module")
def secure(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SecureWorld]:
    """A secured stack."""
    running = start_stack(tmp_path_factory.mktemp("forgery") / "data", "--secure")
    yield SecureWorld(running)
    children.end(running.process, timeout_s=STOP_S)


@dataclass(frozen=True)
class Seal:
    """A registered seal on a delivery of its own, and what it was given."""

    id: str
    made: dict[str, Any]
    login: list[str]
    delivery: str

    def signed(self, body: Any, *, key: dict[str, str] | None = None, name: str = "") -> bytes:
        """A message with a trailer, by default under its own key and for its own topic."""
        given = key or self.made["key"]
        return signed(
            topic_of(name or self.id, "seal", "tlm"),
            json.dumps(body).encode(),
            kid=given["kid"],
            secret_b64=given["secret_b64"],
        )


class Scene:
    """A secured stack with seals on their way, and what comes of messages in their names."""

    def __init__(self, secure: SecureWorld) -> None:
        self.secure = secure
        self.customs = Customs(secure.stack, "forge")

    def seal(self, name: str) -> Seal:
        """A seal that must sign, let in by the broker, on a delivery released an hour ago."""
        id_ = self.customs.code(name)
        made = self.secure.registered(id_, "seal")
        login = self.secure.login(made)
        self.secure.wait_admitted(id_, login)
        now = datetime.now(UTC)
        delivery = self.customs.delivery(
            LINE, [id_], departure=now - timedelta(hours=1), deadline=now + timedelta(days=1)
        )
        return Seal(id=id_, made=made, login=login, delivery=delivery)

    def send(self, seal: Seal, payload: bytes, *, login: list[str] | None = None) -> str:
        """Publish to a seal's topic; what the publisher complains of."""
        done = self.secure.pub(seal.id, payload, login or seal.login, kind="seal")
        return done.stderr

    def wait_refused(self, seal: Seal, *reasons: str) -> None:
        """Wait for what quarantine holds of a seal."""
        wait_until(
            lambda: self.secure.quarantined(seal.id) == list(reasons), WAIT_S, f"{reasons} refused"
        )

    def wait_stored(self, seal: Seal, *seqs: int) -> None:
        """Wait for a seal's stored numbers."""
        wait_until(lambda: self.secure.stored(seal.id) == set(seqs), WAIT_S, f"{seqs} stored")

    def conflicts(self, seal: Seal) -> list[dict[str, Any]]:
        """The anomalies of a seal's delivery that say its identity was misused."""
        return [a for a in self.customs.anomalies(seal.delivery) if a["code"] == CODE]

    def wait_found(self, seal: Seal, reason: str) -> dict[str, Any]:
        """Wait until a refusal is an anomaly."""
        found: list[dict[str, Any]] = []

        def seen() -> bool:
            found[:] = [a for a in self.conflicts(seal) if a["evidence"]["reason"] == reason]
            return bool(found)

        wait_until(seen, WAIT_S, f"an anomaly for {reason}")
        (one,) = found
        return one

    def alert(self, seal: Seal) -> dict[str, Any]:
        """The one alert of the code on a seal's delivery."""
        (one,) = self.customs.get("/alerts", delivery_id=seal.delivery, code=CODE)["items"]
        return dict(one)


@pytest.fixture(scope="module")
def scene(secure: SecureWorld) -> Scene:
    return Scene(secure)


def test_another_devices_credentials_write_nothing(scene: Scene) -> None:
    victim, thief = scene.seal("victim"), scene.seal("thief")
    assert "Not authorized" in scene.send(victim, victim.signed(record(1)), login=thief.login)
    # Its own next message is the proof that the stolen one is not merely late.
    assert "Not authorized" not in scene.send(victim, victim.signed(record(2)))
    scene.wait_stored(victim, 2)
    assert scene.secure.quarantined(victim.id) == scene.secure.quarantined(thief.id) == []
    assert scene.conflicts(victim) == scene.conflicts(thief) == []


def test_forged_messages_are_kept_apart_and_somebody_is_told(scene: Scene) -> None:
    victim, bystander = scene.seal("forged"), scene.seal("bystander")
    scene.send(victim, victim.signed(record(1)))
    scene.wait_stored(victim, 1)

    guessed = {"kid": victim.made["key"]["kid"], "secret_b64": "A" * 43 + "="}
    scene.send(victim, json.dumps(record(2)).encode())
    scene.wait_refused(victim, "mac_missing")
    scene.send(victim, victim.signed(record(2), key=guessed))
    scene.wait_refused(victim, "mac_missing", "mac_wrong")
    unknown = guessed | {"kid": "nokid"}
    scene.send(victim, victim.signed(record(2), key=unknown))
    reasons = ("mac_missing", "mac_wrong", "mac_unknown_key")
    scene.wait_refused(victim, *reasons)

    for reason in reasons:
        found = scene.wait_found(victim, reason)
        assert (found["severity"], found["basis"], found["eaeu_code"]) == (
            "critical",
            "fleet",
            "07",
        )
        assert found["device_id"] == victim.id
        assert found["evidence"]["count"] == 1
        assert found["evidence"]["topics"] == [topic_of(victim.id, "seal", "tlm")]
        (row,) = found["evidence"]["quarantine_ids"]
        items = scene.customs.get("/quarantine", device=victim.id)["items"]
        assert {item["id"]: item["reason"] for item in items}[row] == reason
    alert = scene.alert(victim)
    assert (alert["status"], alert["severity"], alert["count"]) == ("open", "critical", 3)
    assert scene.secure.stored(victim.id) == {1}
    assert scene.conflicts(bystander) == []


def test_a_replay_across_devices_is_told_on_the_one_it_was_aimed_at(scene: Scene) -> None:
    source, target = scene.seal("source"), scene.seal("target")
    heard = source.signed(record(1))
    scene.send(source, heard)
    scene.wait_stored(source, 1)
    scene.send(target, heard)
    scene.wait_refused(target, "mac_wrong")
    scene.wait_found(target, "mac_wrong")
    assert scene.secure.stored(target.id) == set()
    assert scene.conflicts(source) == []


def test_the_same_message_again_is_merged_in_silence(scene: Scene) -> None:
    seal = scene.seal("echo")
    once = seal.signed(record(1))
    for payload in (once, once, seal.signed(record(2))):
        scene.send(seal, payload)
    scene.wait_stored(seal, 1, 2)
    scene.customs.settle(seal.delivery)
    assert scene.secure.quarantined(seal.id) == []
    assert scene.conflicts(seal) == []


def test_a_key_that_has_ended_is_a_wrong_key(scene: Scene) -> None:
    seal = scene.seal("ended")
    old = seal.made["key"]
    scene.secure.call("POST", f"/devices/{seal.id}/keys")
    scene.secure.call("DELETE", f"/devices/{seal.id}/keys/{old['kid']}")
    scene.send(seal, seal.signed(record(1)))
    scene.wait_refused(seal, "mac_expired_key")
    scene.wait_found(seal, "mac_expired_key")
    assert scene.secure.stored(seal.id) == set()


def test_a_second_body_is_told_and_a_resend_of_it_tells_nobody_again(scene: Scene) -> None:
    seal = scene.seal("double")
    first = record(1)
    scene.send(seal, seal.signed(first))
    scene.wait_stored(seal, 1)
    other = first | {"fix": first["fix"] | {"lat": 44.0}}
    scene.send(seal, seal.signed(other))
    scene.wait_refused(seal, CODE)
    found = scene.wait_found(seal, CODE)
    assert (found["evidence"]["gen"], found["evidence"]["seq"]) == (0, 1)
    before = scene.alert(seal)

    scene.send(seal, seal.signed(other))
    wait_until(
        lambda: scene.wait_found(seal, CODE)["evidence"]["count"] == 2, WAIT_S, "the evidence"
    )
    assert [a["id"] for a in scene.conflicts(seal)] == [found["id"]]
    after = scene.alert(seal)
    assert (after["id"], after["count"]) == (before["id"], before["count"])
    scene.wait_stored(seal, 1)
