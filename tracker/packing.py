"""Assembling an evidence pack of a delivery. Reads only.

The pack holds what was received (raw, with its signatures), what was made of it (facts, anomalies,
alerts, risk), what people decided, and the thresholds in force; and a replay from those very
records, so that the reader sees whether the findings follow from them.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime
from importlib.resources import files
from typing import IO, Any
from uuid import UUID

import msgspec

from tracker.db import evidence as db
from tracker.db.evidence import Connection, StoredEvidence
from tracker.db.reading import rfc3339
from tracker.detectors.limits import LimitsInForce
from tracker.evidence.manifest import Signer
from tracker.evidence.pack import PackWriter
from tracker.evidence.verify_pack import MESSAGES, RECORDS, first_link, link
from tracker.model import from_ms
from tracker.payload import mac_of, split_trailer
from tracker.replaying import Difference, Replay

CONFIDENTIAL = frozenset({"assessments", "settings"})
"""Parts that a carrier is not given: scores and rules are confidential (risk.md)."""

README = """\
Доказательства по перевозке под таможенным контролем · Кедендік бақылаудағы жеткізу бойынша дәлелдер
· Evidence of a delivery under customs control

RU  records.jsonl – записи устройств в том виде, в каком они получены; messages.jsonl – подписанные
    сообщения целиком; facts.jsonl – что из них вычислено; anomalies.json, alerts.json, acts.json –
    что найдено и решено; map.html – карта (открывается без сети).
    Проверка: python3 verify.py ФАЙЛ.zip
KK  records.jsonl – құрылғылардың жазбалары алынған күйінде; messages.jsonl – қол қойылған хабарлар
    толығымен; facts.jsonl – олардан есептелгені; anomalies.json, alerts.json, acts.json – не
    табылды және не шешілді; map.html – карта (желісіз ашылады). Тексеру: python3 verify.py ФАЙЛ.zip
EN  records.jsonl: the devices' records as received; messages.jsonl: signed messages whole;
    facts.jsonl: what was computed from them; anomalies.json, alerts.json, acts.json: what was found
    and decided; map.html: the map (opens without a network). To check: python3 verify.py FILE.zip
"""


class Messages:
    """The signed messages that records refer to, each once, with what its MAC was found to be."""

    def __init__(self, keys: Mapping[tuple[int, str], bytes]) -> None:
        self._keys = keys
        self._seen: dict[str, bytes] = {}

    def refer(self, record: StoredEvidence) -> str | None:
        """The digest of a record's message; None: it came unsigned."""
        if record.payload is None or record.topic is None:
            return None
        digest = hashlib.sha256(record.payload).hexdigest()
        if digest not in self._seen:
            self._seen[digest] = _line(
                {
                    "sha256": digest,
                    "device": record.device,
                    "topic": record.topic,
                    "received_at": rfc3339(record.received_at),
                    **_mac(record, record.topic, record.payload, self._keys),
                    **_bytes("payload", record.payload),
                }
            )
        return digest

    @property
    def lines(self) -> Iterator[bytes]:
        """A line of JSON for each."""
        yield from self._seen.values()


def _mac(
    record: StoredEvidence, topic: str, payload: bytes, keys: Mapping[tuple[int, str], bytes]
) -> dict[str, Any]:
    signed = split_trailer(payload)
    secret = keys.get((record.device_no, signed.kid or ""))
    if secret is None or signed.mac is None:
        return {"kid": signed.kid, "mac": "key_unknown"}
    right = mac_of(secret, topic, signed.body) == signed.mac
    return {"kid": signed.kid, "mac": "right" if right else "wrong"}


def _record_lines(records: Iterable[StoredEvidence], messages: Messages) -> Iterator[bytes]:
    chain = first_link()
    for record in records:
        name = f"record {record.device}/{record.gen}/{record.seq}"
        chain = link(chain, name, hashlib.sha256(record.body).hexdigest())
        yield _line(
            {
                "device": record.device,
                "gen": record.gen,
                "seq": record.seq,
                "received_at": rfc3339(record.received_at),
                "t_star": None if record.t_star is None else rfc3339(record.t_star),
                "flags": record.flags,
                "message": messages.refer(record),
                "chain": chain,
                **_bytes("body", record.body),
            }
        )


def _bytes(name: str, content: bytes) -> dict[str, str]:
    """Bytes as text where they are text, else in base64."""
    try:
        return {name: content.decode("utf-8")}
    except UnicodeDecodeError:
        return {f"{name}_base64": base64.b64encode(content).decode("ascii")}


def _line(value: Any) -> bytes:
    return msgspec.json.encode(value) + b"\n"


def _whole(value: Any) -> bytes:
    return msgspec.json.format(msgspec.json.encode(value), indent=1) + b"\n"


def pack(
    target: IO[bytes],
    conn: Connection,
    delivery_id: UUID,
    *,
    replayed: Replay,
    signer: Signer,
    about: Mapping[str, Any],
    pages: Mapping[str, Callable[[], bytes]],
    made_at: datetime,
    confidential: bool,
) -> str:
    """Write the evidence of a delivery; returns the SHA-256 of the manifest, in hex.

    Args:
        conn: in one read-only transaction, so that the parts fit each other.
        about: who made the pack of what, for the manifest.
        pages: further files by name: the delivery, its anomalies, its map.
        confidential: whether scores and thresholds are given too.
    """
    messages = Messages(db.keys_of(conn, delivery_id))
    with PackWriter(target, made_at) as out:
        out.add(RECORDS, _record_lines(db.records_of(conn, delivery_id), messages))
        out.add(MESSAGES, messages.lines)
        out.add("facts.jsonl", (_line(_fact(seen)) for seen in replayed.observations))
        for name in ("acts", "bindings", "alerts", "routes", "refused", "assessments"):
            if confidential or name not in CONFIDENTIAL:
                out.add(f"{name}.json", _whole(db.part(conn, name, delivery_id)))
        if confidential:
            out.add("settings.json", _whole(_settings(replayed.in_force)))
        out.add("replay.json", _whole(_replay(replayed)))
        for name, page in pages.items():
            out.add(name, page())
        out.add("README.txt", README.encode())
        out.add("verify.py", files("tracker.evidence").joinpath("verify_pack.py").read_bytes())
        return out.seal(
            signer,
            {
                **about,
                "made_at": rfc3339(made_at),
                "records": replayed.records,
                "settings_version": replayed.settings_version,
                "rules_version": replayed.rules_version,
            },
        )


def _fact(seen: Any) -> dict[str, Any]:
    told: dict[str, Any] = msgspec.to_builtins(seen)
    return {"t": rfc3339(from_ms(seen.t_ms)), **{k: v for k, v in told.items() if v is not None}}


def _settings(limits: LimitsInForce) -> dict[str, Any]:
    later = [{"from": rfc3339(from_ms(t_ms)), "values": one} for t_ms, one in limits.later]
    return {"version": limits.version, "first": limits.first, "later": later}


def _replay(replayed: Replay) -> dict[str, Any]:
    return {
        "now": rfc3339(replayed.now),
        "records": replayed.records,
        "settings_version": replayed.settings_version,
        "rules_version": replayed.rules_version,
        "records_not_judged_yet": replayed.pending,
        "anomalies_found": len(replayed.found),
        "differences": [difference_json(one) for one in replayed.differences],
    }


def difference_json(one: Difference) -> dict[str, Any]:
    """A difference between what was found then and what a replay shows, in plain values."""
    return {
        "kind": one.kind,
        "code": one.code,
        "anomaly_id": None if one.anomaly_id is None else str(one.anomaly_id),
        "stored": None if one.stored is None else msgspec.to_builtins(one.stored),
        "replayed": None if one.replayed is None else msgspec.to_builtins(one.replayed),
    }
