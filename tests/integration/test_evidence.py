"""Evidence packs: whole, signed, checkable by anyone, and unforgiving to every change."""

from __future__ import annotations

import hashlib
import io
import json
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from tests.integration.test_pipeline import crooked_trip
from tests.support.api import ApiWorld
from tests.support.seed import SeededDelivery, World, at
from tracker.cli import app as command
from tracker.evidence.manifest import Signer, new_key
from tracker.evidence.verify_pack import check
from tracker.model import to_ms
from tracker.payload import Key, sign, topic_of
from tracker.storing import Incoming

SECRET = b"0123456789abcdef"


@pytest.fixture
def judged(world: World) -> SeededDelivery:
    """A crooked trip of a vehicle that signs nothing and a seal that signs all it says."""
    gps, seal = world.device(), world.device("seal")
    world.conn.execute(
        "INSERT INTO device_keys (device_no, kid, secret)"
        " SELECT device_no, 'k1', %s FROM devices WHERE id = %s",
        (SECRET, seal),
    )
    delivery = world.delivery([gps, seal])
    topic = topic_of(seal, "seal", "tlm")
    trip = crooked_trip()
    signed = [
        Incoming(
            topic=topic,
            payload=sign(json.dumps(part).encode(), topic, Key(kid="k1", secret=SECRET)),
            received_ms=to_ms(at(120)),
        )
        for part in (trip[:40], trip[40:80], trip[80])
    ]
    world.store([world.message(gps, record) for record in trip])
    world.store(signed)
    world.judge(now=at(121))
    return delivery


@pytest.fixture
def site(database: str, tmp_path: Path) -> Iterator[ApiWorld]:
    key = tmp_path / "evidence.key"
    key.write_bytes(new_key())
    made = ApiWorld(database, evidence_key=key)
    yield made
    made.close()


@pytest.fixture
def pack(site: ApiWorld, judged: SeededDelivery, tmp_path: Path) -> Path:
    answer = site.call("GET", f"/deliveries/{judged.id}/evidence")
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "application/zip"
    path = tmp_path / "pack.zip"
    path.write_bytes(answer.content)
    digest = hashlib.sha256(read(path, "manifest.json")).hexdigest()
    assert answer.headers["x-manifest-sha256"] == digest
    return path


def read(path: Path, name: str) -> bytes:
    with zipfile.ZipFile(path) as file:
        return file.read(name)


def lines(path: Path, name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in read(path, name).splitlines()]


def changed(path: Path, name: str, change: Callable[[bytes], bytes]) -> Path:
    """The pack with one file changed, all else as it was."""
    to = path.with_name("changed.zip")
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(to, "w") as new:
        for one in old.infolist():
            content = old.read(one)
            new.writestr(one.filename, change(content) if one.filename == name else content)
    return to


def trusted(site: ApiWorld) -> bytes:
    return site.call("GET", "/evidence/key").content


KEYS = {"k1": SECRET.hex()}


def test_a_pack_holds_everything_and_checks(site: ApiWorld, judged: Any, pack: Path) -> None:
    seal = judged.devices[1]
    done = check(pack, trusted(site), {seal: KEYS})
    assert (done.wrong, done.unchecked) == ([], [])
    assert done.records == len(crooked_trip()) + 81
    assert len(done.messages) == 3
    with zipfile.ZipFile(pack) as file:
        names = set(file.namelist())
        html = file.read("map.html").decode()
    assert {
        "records.jsonl", "messages.jsonl", "facts.jsonl", "anomalies.json", "alerts.json",
        "acts.json", "assessments.json", "settings.json", "replay.json", "map.html",
        "track.geojson", "routes.json", "manifest.json", "manifest.sig", "public_key.pem",
        "verify.py", "README.txt",
    } <= names  # fmt: skip
    assert "http://" not in html.replace("http://www.w3.org", "")
    assert json.loads(read(pack, "replay.json"))["differences"] == []
    assert {m["mac"] for m in lines(pack, "messages.jsonl")} == {"right"}
    codes = {a["code"] for a in json.loads(read(pack, "anomalies.json"))}
    assert codes >= {"route_deviation", "seal_cut"}


def test_anyone_can_check_with_nothing_but_python(pack: Path, tmp_path: Path) -> None:
    script = tmp_path / "verify.py"
    script.write_bytes(read(pack, "verify.py"))
    run = subprocess.run(
        [sys.executable, "-I", str(script), str(pack)], capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stdout + run.stderr
    assert "all that was checked is right" in run.stdout


def test_the_command_checks(site: ApiWorld, pack: Path, tmp_path: Path) -> None:
    pem = tmp_path / "authority.pem"
    pem.write_bytes(trusted(site))
    run = CliRunner().invoke(command, ["evidence", "verify", str(pack), "--public-key", str(pem)])
    assert run.exit_code == 0, run.output
    run = CliRunner().invoke(command, ["evidence", "verify", str(pem)])
    assert run.exit_code == 2
    assert "cannot be checked" in run.output


def test_any_change_to_a_file_shows(site: ApiWorld, pack: Path) -> None:
    public = trusted(site)
    for name in ("records.jsonl", "messages.jsonl", "anomalies.json", "alerts.json", "map.html"):
        forged = changed(pack, name, lambda content: content.replace(b"0", b"1", 1))
        assert f"{name}: is not the file that was signed" in check(forged, public).wrong


def test_a_new_manifest_of_forged_files_lacks_the_signature(site: ApiWorld, pack: Path) -> None:
    def as_if_nothing(content: bytes) -> bytes:
        told = json.loads(content)
        told["made_by"] = "somebody else"
        return json.dumps(told).encode()

    done = check(changed(pack, "manifest.json", as_if_nothing), trusted(site))
    assert done.wrong == ["the signature does not match the manifest under this key"]
    anothers = check(pack, Signer.read(new_key()).public_pem)
    assert "the signature does not match the manifest under this key" in anothers.wrong


def test_a_record_that_no_message_holds_and_a_wrong_key_show(
    site: ApiWorld, judged: Any, pack: Path
) -> None:
    seal = judged.devices[1]

    def swap(content: bytes) -> bytes:
        told = [json.loads(line) for line in content.splitlines()]
        ours = next(one for one in told if one["device"] == seal)
        ours["body"] = ours["body"].replace('"seq": 1', '"seq": 999999')
        return b"".join(json.dumps(one).encode() + b"\n" for one in told)

    done = check(changed(pack, "records.jsonl", swap), trusted(site))
    assert any("does not stand in its signed message" in line for line in done.wrong)
    assert any("the chain of records breaks here" in line for line in done.wrong)
    done = check(pack, trusted(site), {judged.devices[1]: {"k1": "00" * 16}})
    assert len([line for line in done.wrong if "its MAC is wrong" in line]) == 3


def test_a_carrier_gets_its_own_without_scores_and_rules(
    site: ApiWorld, world: World, judged: SeededDelivery
) -> None:
    row = world.conn.execute(
        "SELECT carrier_id FROM deliveries WHERE id = %s", (judged.id,)
    ).fetchone()
    assert row is not None
    site.user("driver", "carrier", participant_id=str(row[0]))
    answer = site.call("GET", f"/deliveries/{judged.id}/evidence", who="driver")
    assert answer.status_code == 200
    with zipfile.ZipFile(io.BytesIO(answer.content)) as file:
        names = set(file.namelist())
        told = b"".join(file.read(n) for n in names if n.endswith((".json", ".jsonl")))
    assert names.isdisjoint({"assessments.json", "settings.json"})
    assert b"expected_loss" not in told
    assert b'"weight"' not in told


def test_who_may_and_what_is_missing(site: ApiWorld, judged: SeededDelivery, database: str) -> None:
    site.user("eye", "integration")
    assert site.call("GET", f"/deliveries/{judged.id}/evidence", who="eye").status_code == 403
    keyless = ApiWorld(database)
    try:
        path = f"/api/v1/deliveries/{judged.id}/evidence"
        held = {"Authorization": f"Bearer {keyless.token()}"}
        answer = keyless.http.get(path, headers=held)
        assert answer.status_code == 503
        assert "TRACKER_EVIDENCE_KEY" in answer.json()["detail"]
    finally:
        keyless.close()


def test_what_if_over_http(site: ApiWorld, judged: SeededDelivery) -> None:
    same = site.post(f"/deliveries/{judged.id}/replay", {}).json()
    assert same["differences"] == []
    other = site.post(f"/deliveries/{judged.id}/replay", {"limits": {"stop_s": 3600}}).json()
    assert {d["code"] for d in other["differences"]} == {"unauthorised_stop"}
    bad = site.post(f"/deliveries/{judged.id}/replay", {"limits": {"stop": 3600}})
    assert bad.status_code == 422
    assert "stop" in bad.text
