"""The published contract, the golden payloads and the decoder say the same."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml
from jsonschema import Draft7Validator
from jsonschema.validators import extend

from tracker.model import Record, WireEvent, WireFix, WireMotion, WirePower, WireSeal
from tracker.payload import (
    MAX_ARRAY_BYTES,
    MAX_RECORD_BYTES,
    Birth,
    Reason,
    Rejected,
    decode_birth,
    decode_records,
)
from tracker.received import Received, ack_of

ROOT = Path(__file__).parents[2]
GOLDEN = sorted((ROOT / "tests/data/golden/mqtt").glob("*.json"))
CONTRACT: dict[str, Any] = yaml.safe_load((ROOT / "docs/asyncapi.yaml").read_text("utf-8"))
MESSAGES: dict[str, Any] = CONTRACT["components"]["messages"]
SCHEMAS: dict[str, Any] = CONTRACT["components"]["schemas"]
MOST_BYTES = {
    message["payload"]["$ref"].rpartition("/")[2]: message["x-max-bytes"]
    for message in MESSAGES.values()
    if "x-max-bytes" in message and "$ref" in message["payload"]
}

# The contract's integers are written without a fraction; JSON Schema alone would take 1.0 for one.
Strict = extend(
    Draft7Validator,
    type_checker=Draft7Validator.TYPE_CHECKER.redefine(
        "integer", lambda _, value: isinstance(value, int) and not isinstance(value, bool)
    ),
)


@cache
def validator(schema: str) -> Any:
    """A validator of one schema of the contract, or of a message's payload by its path."""
    where = schema if schema.startswith("#") else f"#/components/schemas/{schema}"
    return Strict({"allOf": [{"$ref": where}], "components": CONTRACT["components"]})


def body_of(golden: dict[str, Any]) -> bytes:
    """The bytes of a golden payload: as given, or its JSON in the shortest form."""
    if "text" in golden:
        return str(golden["text"]).encode()
    return json.dumps(golden["payload"], separators=(",", ":"), ensure_ascii=False).encode()


def contract_takes(schema: str, body: bytes) -> bool:
    """The verdict of the published contract: size, JSON, schema."""
    if len(body) > MOST_BYTES[schema]:
        return False
    try:
        value = json.loads(body)
        json.dumps(value, ensure_ascii=False).encode()  # half a surrogate pair is no text
    except ValueError:
        return False
    if schema == "Records" and isinstance(value, list):
        sizes = [len(json.dumps(item, separators=(",", ":")).encode()) for item in value]
        if any(size > MOST_BYTES["Record"] for size in sizes):
            return False
    return bool(validator(schema).is_valid(value))


def decoder_reasons(schema: str, body: bytes) -> list[Reason | None]:
    """The verdict of the decoder, record by record: None where it takes one."""
    if schema in ("Birth", "Leave"):
        outcomes: list[Any] = [decode_birth(body)]
    else:
        outcomes = list(decode_records(body))
    return [o.reason if isinstance(o, Rejected) else None for o in outcomes]


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.stem)
def test_contract_and_decoder_give_the_golden_verdict(path: Path) -> None:
    golden = json.loads(path.read_text("utf-8"))
    body = body_of(golden)
    assert decoder_reasons(golden["schema"], body) == golden["reasons"]
    assert contract_takes(golden["schema"], body) == (not any(golden["reasons"]))


@pytest.mark.parametrize(
    "path", [p for p in GOLDEN if p.stem.startswith("array_")], ids=lambda path: path.stem
)
def test_each_record_of_an_array_has_its_own_verdict(path: Path) -> None:
    golden = json.loads(path.read_text("utf-8"))
    for item, reason in zip(golden["payload"], golden["reasons"], strict=True):
        body = json.dumps(item).encode()
        assert contract_takes("Record", body) == (reason is None)
        assert decoder_reasons("Record", body) == [reason]


def test_golden_payloads_cover_every_reason_that_content_can_have() -> None:
    given = {r for p in GOLDEN for r in json.loads(p.read_text("utf-8"))["reasons"] if r}
    assert given == {
        Reason.OVERSIZED,
        Reason.TOO_MANY_RECORDS,
        Reason.MALFORMED,
        Reason.UNKNOWN_VERSION,
        Reason.INVALID_FIELD,
    }


@pytest.mark.parametrize(
    ("message", "example"),
    [(name, example) for name, message in MESSAGES.items() for example in message["examples"]],
    ids=lambda value: value if isinstance(value, str) else value["name"],
)
def test_every_message_has_examples_that_keep_its_schema(
    message: str, example: dict[str, Any]
) -> None:
    found = validator(f"#/components/messages/{message}/payload").iter_errors(example["payload"])
    assert [error.message for error in found] == []


@pytest.mark.parametrize(
    ("schema", "struct"),
    [
        ("Record", Record),
        ("Fix", WireFix),
        ("Motion", WireMotion),
        ("Power", WirePower),
        ("Seal", WireSeal),
        ("Evt", WireEvent),
        ("State", Birth),
    ],
)
def test_the_contract_names_the_decoder_s_fields(schema: str, struct: type) -> None:
    kept_as_sent = {"net"} if schema == "Record" else set()
    fields = msgspec.structs.fields(struct)
    assert set(SCHEMAS[schema]["properties"]) - kept_as_sent == {f.name for f in fields}
    assert set(SCHEMAS[schema].get("required", ())) == {f.name for f in fields if f.required}


def test_reasons_and_sizes_are_the_server_s() -> None:
    assert set(CONTRACT["x-reasons"]) == set(Reason)
    assert MOST_BYTES["Record"] == MOST_BYTES["Birth"] == MAX_RECORD_BYTES
    assert MOST_BYTES["Records"] == MAX_ARRAY_BYTES


@pytest.mark.parametrize(
    "seqs", [[], [1, 2, 3], [5], [1, 2, 4, 9], list(range(2, 400, 2))], ids=repr
)
def test_acks_of_the_server_keep_the_contract(seqs: list[int]) -> None:
    for received in (Received().add(seqs), Received().add(seqs).raise_lo(3)):
        found = validator("Ack").iter_errors(ack_of(0, received))
        assert [error.message for error in found] == []


def test_operations_and_channels_refer_to_what_is_there() -> None:
    def targets(node: Any) -> list[str]:
        if isinstance(node, dict):
            own = [node["$ref"]] if "$ref" in node else []
            return own + [t for value in node.values() for t in targets(value)]
        return [t for value in node for t in targets(value)] if isinstance(node, list) else []

    for target in targets(CONTRACT):
        node: Any = CONTRACT
        for part in target.removeprefix("#/").split("/"):
            node = node[part]
