"""Asks a server through its HTTP API what it found of the deliveries of a run."""

from __future__ import annotations

import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import Any

from firmware_sim.errors import OfficeError, ScoreError
from firmware_sim.office import Office, Refusal
from firmware_sim.perform import Server
from firmware_sim.score import Found
from firmware_sim.score_match import Finding
from firmware_sim.timing import to_ms
from firmware_sim.truthfile import TruthFile

_AT_ONCE = 4
_LOOK_S = 2.0


def read_findings(server: Server, truth: TruthFile, *, settle_timeout_s: float) -> dict[str, Found]:
    """What stands, by registration number, once every delivery is judged (`settled`).

    Raises OfficeError if the server can't be asked or does not settle in time, ScoreError if it
    has none of the deliveries.
    """
    names = {story.registration for story in truth.stories}
    with Office(server.url) as office:
        office.login(server.username, server.password)
        try:
            deliveries = _settled(office, names, settle_timeout_s)
            if not deliveries:
                raise ScoreError(
                    f"{server.url} has none of the {len(names)} deliveries of this truth; give "
                    "the server that the scenario was played on"
                )
            with ThreadPoolExecutor(_AT_ONCE) as pool:
                found = pool.map(lambda item: _found(office, item), deliveries.values())
                return dict(zip(deliveries, found, strict=True))
        except Refusal as refusal:
            raise OfficeError(
                f"{server.url}: {refusal}; the user given with --user must see all deliveries"
            ) from refusal


def _settled(office: Office, names: set[str], timeout_s: float) -> dict[str, dict[str, Any]]:
    until_s = time.monotonic() + timeout_s
    while True:
        items = {str(item["registration_number"]): item for item in office.every("/deliveries")}
        mine = {name: items[name] for name in sorted(names & set(items))}
        behind = [name for name, item in mine.items() if not item["settled"]]
        if not behind:
            return mine
        if time.monotonic() > until_s:
            raise OfficeError(
                f"{len(behind)} deliveries are not settled after {timeout_s:g} s, {behind[0]} "
                "among them; is `tracker evaluate` running? Give a longer --settle-timeout"
            )
        time.sleep(_LOOK_S)


def _found(office: Office, item: Mapping[str, Any]) -> Found:
    anomalies = office.every(f"/deliveries/{item['id']}/anomalies")
    risk = item.get("risk") or office.get(f"/deliveries/{item['id']}/risk")
    return Found(
        findings=tuple(_finding(a) for a in anomalies if a["status"] != "retracted"),
        loss_kzt=risk.get("expected_loss_kzt"),
        probability=risk.get("probability"),
    )


def _finding(anomaly: Mapping[str, Any]) -> Finding:
    by = anomaly.get("found_by") or {}
    return Finding(
        code=anomaly["code"],
        device=anomaly["device_id"],
        start_ms=_ms(anomaly["start"]),
        end_ms=None if anomaly["end"] is None else _ms(anomaly["end"]),
        found_device=by.get("device"),
        found_gen=by.get("gen"),
        found_seq=by.get("seq"),
    )


def _ms(text: str) -> int:
    return to_ms(datetime.fromisoformat(text))
