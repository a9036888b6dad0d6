"""Drives the product over HTTP as other systems do: makes what a delivery needs, asks what came."""

from __future__ import annotations

import itertools
import subprocess
import sys
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx

from tests.support.stack import Stack
from tests.support.waiting import wait_until

Point = tuple[float, float]
_COUNT = itertools.count(1)


def rfc3339(at: datetime) -> str:
    """RFC 3339 in UTC with milliseconds."""
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def names(text: str) -> dict[str, str]:
    """One name in the three languages."""
    return {"ru": text, "kk": text, "en": text}


class Customs:
    """A client with a prefix of its own, so that tests can share a stack."""

    def __init__(self, stack: Stack, prefix: str) -> None:
        self.stack = stack
        self.http: httpx.Client = stack.http_client()
        self._prefix = f"{prefix}{next(_COUNT)}"

    def code(self, name: str) -> str:
        """A code that no other test uses."""
        return f"{self._prefix}-{name}"

    def post(self, path: str, body: Any, *, status: int | None = None) -> Any:
        """POST below /api/v1; anything but the wanted status (or any 2xx) fails with its text."""
        answer = self.http.post(f"/api/v1{path}", json=body)
        wanted = answer.is_success if status is None else answer.status_code == status
        assert wanted, f"{path}: {answer.status_code} {answer.text}"
        return answer.json()

    def get(self, path: str, **params: Any) -> Any:
        """GET below /api/v1."""
        answer = self.http.get(f"/api/v1{path}", params=params)
        assert answer.is_success, f"{path}: {answer.status_code} {answer.text}"
        return answer.json()

    # ------------------------------------------------------------ what a delivery needs

    def place(self, name: str, point: Point) -> str:
        """A post with the default zone; its code."""
        code = self.code(name)
        self.post(
            "/posts",
            {
                "code": code,
                "name": names(name),
                "geometry": {"type": "Point", "coordinates": point},
                "country": "KZ",
            },
        )
        return code

    def zone(self, name: str, ring: Sequence[Point], kind: str) -> str:
        """A zone; its code."""
        code = self.code(name)
        geometry = {"type": "Polygon", "coordinates": [list(ring)]}
        self.post("/zones", {"code": code, "name": names(name), "kind": kind, "geometry": geometry})
        return code

    def participant(self, **facts: Any) -> str:
        """A carrier and declarant; its id."""
        body = {
            "name": self.code("company"),
            "kind": "both",
            "tax_id": f"{next(_COUNT):012d}",
            "country": "CN",
            "facts": facts,
        }
        return str(self.post("/participants", body)["id"])

    def device(self, name: str, kind: str) -> str:
        """A device that need not sign; its id."""
        id_ = self.code(name)
        self.post("/devices", {"id": id_, "kind": kind, "hmac_required": False})
        return id_

    def delivery(
        self,
        line: Sequence[Point],
        devices: Sequence[str],
        *,
        departure: datetime,
        deadline: datetime,
        corridor_m: float = 1000.0,
        payments_kzt: int = 5_000_000,
        posts: tuple[str, str] | None = None,
    ) -> str:
        """A delivery along a line, registered and released at ``departure``; its id."""
        who = self.participant()
        n = next(_COUNT)
        ends = posts or (self.place(f"from{n}", line[0]), self.place(f"to{n}", line[-1]))
        created = self.post(
            "/deliveries",
            {
                "registration_number": self.code(f"reg{n}"),
                "direction": "transit",
                "carrier_id": who,
                "declarant_id": who,
                "departure_post": ends[0],
                "destination_post": ends[1],
                "route": {
                    "name": "declared with the delivery",
                    "geometry": {"type": "LineString", "coordinates": [list(p) for p in line]},
                    "corridor_m": corridor_m,
                },
                "deadline": rfc3339(deadline),
                "scheduled_departure": rfc3339(departure),
                "goods": [
                    {
                        "hs_code": "2208",
                        "description": "spirits",
                        "gross_kg": 18_000,
                        "value_kzt": 40_000_000,
                        "payments_at_stake_kzt": payments_kzt,
                    }
                ],
                "vehicle": {"plate": "123ABC02", "country": "KZ"},
                "devices": list(devices),
            },
        )
        self.post(f"/deliveries/{created['id']}/release", {"at": rfc3339(departure)})
        return str(created["id"])

    # ------------------------------------------------------------ what came of it

    def settle(self, delivery_id: str, timeout_s: float = 120) -> dict[str, Any]:
        """Wait until every stored record of a delivery has been judged."""
        answer: dict[str, Any] = {}

        def settled() -> bool:
            answer.update(self.get(f"/deliveries/{delivery_id}"))
            return bool(answer["settled"])

        wait_until(settled, timeout_s, f"delivery {delivery_id} is settled")
        return answer

    def anomalies(self, delivery_id: str) -> list[dict[str, Any]]:
        """Standing anomalies of a delivery."""
        items = self.get(f"/deliveries/{delivery_id}/anomalies", limit=1000)["items"]
        return [item for item in items if item["status"] != "retracted"]

    def wait_for_position(self, delivery_id: str, *, since: datetime) -> None:
        """Wait until a delivery has been seen at or after a moment of its own time."""

        def seen() -> bool:
            last = self.get(f"/deliveries/{delivery_id}")["last_position"]
            return last is not None and datetime.fromisoformat(last["t"]) >= since

        wait_until(seen, 120, f"a position of {delivery_id} since {since}", every_s=0.5)

    def simulator_command(self, *arguments: str) -> list[str]:
        """The simulator's command line against the stack's broker."""
        host, port = self.stack.mqtt
        command = [sys.executable, "-m", "firmware_sim", *arguments]
        return [*command, "--host", host, "--port", str(port)]

    def firmware_sim(self, *arguments: str, timeout_s: float = 240) -> str:
        """Run the simulator against the stack's broker; its output."""
        command = self.simulator_command(*arguments)
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=timeout_s, check=False
        )
        assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout}\n{done.stderr}"
        return done.stdout


def hours(n: float) -> timedelta:
    """So many hours."""
    return timedelta(hours=n)
