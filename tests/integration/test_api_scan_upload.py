"""Pictures of scans sent as forms: the same act as by JSON, with limits of size and kind."""

from __future__ import annotations

import hashlib
from base64 import b64encode
from typing import Any

import httpx
import pytest

from tests.integration.api_world import bare, world  # noqa: F401 - fixtures
from tests.support.api import ApiWorld, after, bad_fields, problem_of
from tracker.api.uploads import KINDS, MAX_FILE_BYTES, OCTETS

PNG = b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 4


def released(world: ApiWorld) -> str:  # noqa: F811
    path = f"/deliveries/{world.delivery()['id']}"
    answer = world.post(f"{path}/release", {"at": after(hours=-6)})
    assert answer.status_code == 200, answer.text
    return path


@pytest.fixture
def path(world: ApiWorld) -> str:  # noqa: F811
    """A delivery that has arrived."""
    found = released(world)
    answer = world.post(f"{found}/arrival", {"seals": [], "at": after(hours=-1)})
    assert answer.status_code == 200, answer.text
    return found


def send(
    world: ApiWorld,  # noqa: F811
    path: str,
    file: tuple[Any, ...] | None = ("x.png", PNG, "image/png"),
    fields: dict[str, Any] | None = None,
    **more: Any,
) -> httpx.Response:
    form = {"verdict": "clean"} if fields is None else fields
    parts = [(name, (None, str(value))) for name, value in form.items()]
    files = [*parts, *([("file", file)] if file is not None else [])]
    return world.call("POST", f"{path}/scans", files=files, **more)


def test_a_form_does_what_json_does(world: ApiWorld, path: str) -> None:  # noqa: F811
    fields = {
        "verdict": "suspicious",
        "container": "MSKU1234565",
        "scanner": "HCV-1",
        "at": after(minutes=-5),
        "text": "тёмное пятно",
    }
    by_form = send(world, path, fields=fields)
    assert by_form.status_code == 201, by_form.text
    file = {"name": "x.png", "media_type": "image/png", "data_base64": b64encode(PNG).decode()}
    by_json = world.post(f"{path}/scans", {**fields, "file": file})
    assert by_json.status_code == 201, by_json.text
    form, json = by_form.json(), by_json.json()
    apart = {"id", "recorded_at"}
    assert {k: v for k, v in form.items() if k not in apart} == {
        k: v for k, v in json.items() if k not in apart
    }
    assert form["file"] == {
        "name": "x.png",
        "media_type": "image/png",
        "size_bytes": len(PNG),
        "sha256": hashlib.sha256(PNG).hexdigest(),
    }
    for scan in (form, json):
        got = world.call("GET", f"{path}/scans/{scan['id']}/file")
        assert got.content == PNG
    assert [s["id"] for s in world.get(f"{path}/scans")["items"]] == [form["id"], json["id"]]


def test_the_file_may_be_left_out_or_left_empty(world: ApiWorld, path: str) -> None:  # noqa: F811
    none = send(world, path, None)
    assert (none.status_code, none.json()["file"]) == (201, None)
    # A browser sends a part without a name for a field in which nothing was chosen.
    empty = send(
        world, path, ("", b"", OCTETS), {"result": "violation", "container": "", "text": ""}
    )
    assert (empty.status_code, empty.json()["result"]) == (201, "violation"), empty.text
    assert (empty.json()["file"], empty.json()["container"]) == (None, None)


@pytest.mark.parametrize(
    ("file", "words"),
    [
        (("x.png", b"\x89PNG\r\n\x1a\n" + b"0" * MAX_FILE_BYTES, "image/png"), "5242880 fit"),
        (("x.exe", b"MZ", "application/x-msdownload"), "send one of image/png"),
        (("x.svg", b"<svg/>", "image/svg+xml"), "send one of"),
        (("x.png", b"MZ renamed", "image/png"), "does not begin as image/png"),
        (("x.png", b"", "image/png"), "is empty"),
        (("C:\\", PNG, "image/png"), "name"),
        (("n" * 301, PNG, "image/png"), "name"),
        ((None, "the picture", None), "send it as a file"),
    ],
)
def test_a_file_that_is_not_taken_is_named_with_the_remedy(
    world: ApiWorld,  # noqa: F811
    path: str,
    file: tuple[Any, ...],
    words: str,
) -> None:
    fields = bad_fields(send(world, path, file))
    assert words in fields["body.file"]
    assert world.get(f"{path}/scans")["items"] == []


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({}, "body.verdict"),
        ({"verdict": "fine"}, "body.verdict"),
        ({"verdict": "clean", "at": "yesterday"}, "body.at"),
        ({"verdict": "clean", "container": "c" * 301}, "body.container"),
        ({"verdict": "clean", "text": "t" * 4001}, "body.text"),
        ({"verdict": "clean", "verdikt": "clean"}, "body.verdikt"),
    ],
)
def test_a_bad_field_of_the_form_is_named(
    world: ApiWorld,  # noqa: F811
    path: str,
    fields: dict[str, str],
    field: str,
) -> None:
    assert field in bad_fields(send(world, path, fields=fields))


def test_the_largest_file_fits(world: ApiWorld, path: str) -> None:  # noqa: F811
    content = PNG + bytes(MAX_FILE_BYTES - len(PNG))
    made = send(world, path, ("большой.png", content, "image/png"))
    assert made.status_code == 201, made.text
    assert made.json()["file"]["size_bytes"] == MAX_FILE_BYTES
    got = world.call("GET", f"{path}/scans/{made.json()['id']}/file")
    assert hashlib.sha256(got.content).digest() == hashlib.sha256(content).digest()


def test_a_body_beyond_all_measure_is_refused_before_it_is_read(
    world: ApiWorld,  # noqa: F811
    path: str,
) -> None:
    answer = send(world, path, ("x.png", PNG + bytes(9 * 1024 * 1024), "image/png"))
    assert "at most 8388608 fit" in problem_of(answer, 413)["detail"]


def test_two_files_are_one_too_many(world: ApiWorld, path: str) -> None:  # noqa: F811
    files = [("verdict", (None, "clean")), *[("file", ("x.png", PNG, "image/png"))] * 2]
    answer = world.call("POST", f"{path}/scans", files=files)
    assert "Too many files" in problem_of(answer, 400)["detail"]


@pytest.mark.parametrize("name", ["C:\\scans\\a.png", "/tmp/a.png", "../../a.png"])
def test_of_a_path_only_the_name_is_kept(world: ApiWorld, path: str, name: str) -> None:  # noqa: F811
    made = send(world, path, (name, PNG, "image/png"))
    assert made.json()["file"]["name"] == "a.png"


def test_every_kind_is_taken_as_itself(world: ApiWorld, path: str) -> None:  # noqa: F811
    for kind, begins in KINDS.items():
        for at, what in begins or ((0, b"own"),):
            content = bytes(at) + what + bytes(200)
            made = send(world, path, ("a", content, f"{kind.upper()}; x=1"))
            assert made.status_code == 201, (kind, made.text)
            assert made.json()["file"]["media_type"] == kind


def test_a_key_answers_once_and_knows_another_file(world: ApiWorld, path: str) -> None:  # noqa: F811
    key = {"Idempotency-Key": "scan-1"}
    first, again = (send(world, path, headers=key) for _ in range(2))
    assert first.json() == again.json()
    assert again.headers["idempotency-replayed"] == "true"
    other = send(world, path, ("x.png", PNG + b"1", "image/png"), headers=key)
    assert "Idempotency-Key" in str(bad_fields(other))
    assert len(world.get(f"{path}/scans")["items"]) == 1


def test_who_may_send_and_of_what_state_and_version(world: ApiWorld, path: str) -> None:  # noqa: F811
    monitor = world.user("monitor", "monitor")
    problem_of(send(world, path, who=monitor), 403)
    carrier = world.user("driver", "carrier", participant_id=world.participant())
    problem_of(send(world, path, who=carrier), 404)
    problem_of(send(world, path, headers={"If-Match": '"0"'}), 412)
    integration = world.user("scanner", "integration")
    assert send(world, path, who=integration).status_code == 201
    early = released(world)
    assert "arrived" in problem_of(send(world, early), 409)["detail"]


def test_the_document_describes_both(world: ApiWorld) -> None:  # noqa: F811
    document = world.http.get("/api/openapi.json").json()
    call = document["paths"]["/api/v1/deliveries/{delivery_id}/scans"]["post"]
    content = call["requestBody"]["content"]
    assert content["application/json"]["schema"] == {"$ref": "#/components/schemas/ScanIn"}
    form = content["multipart/form-data"]
    assert form["schema"]["properties"]["file"]["format"] == "binary"
    assert set(form["example"]) <= set(form["schema"]["properties"])
    assert call["requestBody"]["required"] is True
