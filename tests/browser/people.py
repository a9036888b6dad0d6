"""Users, deliveries and devices for the browser tests, made by HTTP and MQTT as in life."""

from __future__ import annotations

import itertools
import json
import zlib
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import paho.mqtt.publish as publish
from shapely.geometry import LineString

from tests.support.customs import Customs
from tests.support.stack import Stack
from tests.support.waiting import wait_until

SIZES: Final = ((1440, 900), (390, 844))
LINE: Final = ((76.90, 43.25), (77.10, 43.30), (77.40, 43.40))


@dataclass
class Scene:
    """A released delivery with a seal, and what can happen to it."""

    customs: Customs
    delivery: str
    number: str
    seal: str
    place: tuple[float, float]
    _seq: itertools.count[int] = field(default_factory=lambda: itertools.count(1))

    def report_position(self) -> None:
        """The seal reports from the route; waits until it has been judged."""
        self._publish("tlm", {})

    def cut_seal(self) -> None:
        """The seal reports that its cable was cut; waits until the alert stands."""
        self._publish("evt", {"evt": {"code": "rope_cut"}, "seal": {"rope": "cut"}})
        wait_until(lambda: self._alerts("seal_cut"), 30, "the alert of the cut seal")

    def alert(self, code: str) -> dict[str, Any]:
        """The alert of this code."""
        return self._alerts(code)[0]

    def read(self) -> dict[str, Any]:
        """The delivery as the API has it now."""
        found: dict[str, Any] = self.customs.get(f"/deliveries/{self.delivery}")
        return found

    def arrive(self) -> None:
        """Someone else confirms the arrival."""
        body = {"seals": [{"device_id": self.seal, "state": "intact"}]}
        self.customs.post(f"/deliveries/{self.delivery}/arrival", body)

    def _alerts(self, code: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.customs.get(
            "/alerts", delivery_id=self.delivery, code=code
        )["items"]
        return found

    def _publish(self, channel: str, more: dict[str, Any]) -> None:
        t_ms = int(datetime.now(UTC).timestamp() * 1000)
        fix = {"t": t_ms, "ok": True, "lat": self.place[1], "lon": self.place[0], "src": "gnss"}
        record = {"v": 1, "gen": 0, "seq": next(self._seq), "ts": t_ms, "tq": "gnss", "fix": fix}
        host, port = self.customs.stack.mqtt
        shard = zlib.crc32(self.seal.encode()) % 64
        topic = f"cts/v1/{shard:02d}/seal/{self.seal}/{channel}"
        publish.single(topic, json.dumps(record | more), qos=1, hostname=host, port=port)
        wait_until(lambda: self.read()["last_position"], 30, "the position of the seal")


class People:
    """The users of the console on one stack, and scenes for them to look at."""

    PASSWORD: Final = "a long pass phrase"
    _count = itertools.count(1)

    def __init__(self, stack: Stack) -> None:
        self.stack = stack
        self.customs = Customs(stack, "page")
        self.ends = (self.customs.place("from", LINE[0]), self.customs.place("to", LINE[-1]))
        self.monitor = self._user("monitor")
        self.officer = self._user("officer", posts=list(self.ends))

    def admin(self) -> str:
        """A further administrator."""
        return self._user("admin")

    def carrier_of(self, scene: Scene) -> str:
        """A log-in of the carrier of a scene's delivery."""
        return self._user("carrier", participant_id=scene.read()["carrier_id"])

    def scene(self) -> Scene:
        """A delivery released minutes ago, due tomorrow."""
        n = next(self._count)
        seal = self.customs.device(f"seal{n}", "seal")
        released = datetime.now(UTC) - timedelta(minutes=5)
        delivery = self.customs.delivery(
            LINE,
            [seal],
            departure=released,
            deadline=released + timedelta(days=1),
            posts=self.ends,
        )
        number = self.customs.get(f"/deliveries/{delivery}")["registration_number"]
        # Each at a place of its own, about a kilometre from the next: icons must not cover another.
        place = LineString(LINE).interpolate(n % 40 / 40, normalized=True)
        return Scene(
            customs=self.customs,
            delivery=delivery,
            number=number,
            seal=seal,
            place=(place.x, place.y),
        )

    def _user(self, role: str, **more: Any) -> str:
        username = f"page-{role}-{next(self._count)}"
        body = {"username": username, "password": self.PASSWORD, "role": role} | more
        self.customs.post("/users", body)
        return username
