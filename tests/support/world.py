"""Rows for tests of the reading calls: what ingest and evaluation would have stored."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import httpx
import psycopg
import uvicorn
from fastapi import FastAPI
from fastapi.testclient import TestClient

from tests.support.waiting import wait_until
from tracker.api.auth import issue
from tracker.db.connect import Database
from tracker.db.outbox import Event, append
from tracker.db.users import find_active
from tracker.settings import Settings

#: A fixed time within the present week, so that telemetry finds its partition.
T0 = datetime.now(UTC).replace(microsecond=0) - timedelta(hours=6)
SECRET = "a secret of at least thirty-two characters"


def at(seconds: float) -> datetime:
    """``seconds`` after `T0`."""
    return T0 + timedelta(seconds=seconds)


def settings_for(dsn: str, **more: Any) -> Settings:
    """Settings of an API on a database."""
    return Settings(database_url=dsn, secret_key=SECRET, database_pool_size=4, **more)


@dataclass
class World:
    """A database with the base rows: two posts, a route, carriers. Everything commits at once."""

    dsn: str
    conn: psycopg.Connection[Any] = field(init=False)
    _n: int = 0

    def __post_init__(self) -> None:
        self.conn = psycopg.connect(self.dsn, autocommit=True)
        for code, lon, lat in (("P1", 76.9, 43.25), ("P2", 80.0, 44.2)):
            zone = self._id(
                "INSERT INTO zones (code, name, kind, geom) VALUES (%s, %s, 'post',"
                " ST_Multi(ST_Buffer(ST_MakePoint(%s,%s)::geography, 500)::geometry)) RETURNING id",
                f"Z-{code}", json.dumps({"ru": "Пост", "kk": "Бекет", "en": "Post"}), lon, lat,
            )  # fmt: skip
            self._id(
                "INSERT INTO posts (code, name, geom, country, zone_id)"
                " VALUES (%s, %s, ST_SetSRID(ST_MakePoint(%s,%s),4326), 'KZ', %s) RETURNING id",
                code, json.dumps({"ru": "Пост", "kk": "Бекет", "en": "Post"}), lon, lat, zone,
            )  # fmt: skip
        self.route = self._id(
            "INSERT INTO routes (code, name, geom, length_m, corridor_m) VALUES ('R1', 'A2',"
            " ST_SetSRID('LINESTRING(76.9 43.25, 80.0 44.2)'::geometry, 4326), 270000, 1000)"
            " RETURNING id"
        )
        self.carrier = self.participant("Carrier")
        self.other_carrier = self.participant("Other carrier")

    def _id(self, query: str, *params: Any) -> Any:
        row = self.conn.execute(query, params).fetchone()
        assert row is not None
        return row[0]

    def number(self) -> int:
        """A number that was not given before."""
        self._n += 1
        return self._n

    def participant(self, name: str, **facts: Any) -> UUID:
        """A participant that may carry and declare."""
        return self._id(
            "INSERT INTO participants (name, kind, tax_id, country, facts)"
            " VALUES (%s, 'both', %s, 'KZ', %s) RETURNING id",
            name, f"{self.number():012d}", json.dumps(facts),
        )  # fmt: skip

    def user(self, username: str, role: str, participant: UUID | None = None) -> None:
        """A user who may log in, though not by password."""
        self.conn.execute(
            "INSERT INTO users (username, password_hash, role, participant_id)"
            " VALUES (%s, 'x', %s, %s)",
            (username, role, participant),
        )

    def delivery(self, *, carrier: UUID | None = None, **more: Any) -> UUID:
        """A released delivery from P1 to P2."""
        goods = [{"hs_code": "940360", "description": "chairs", "gross_kg": 100,
                  "value_kzt": 30_000_000, "payments_at_stake_kzt": 6_000_000}]  # fmt: skip
        return self._id(
            "INSERT INTO deliveries (registration_number, direction, carrier_id, declarant_id,"
            " departure_post, destination_post, route_id, deadline, goods, vehicle, status,"
            " released_at) VALUES (%s,'transit',%s,%s,'P1','P2',%s,%s,%s,%s,%s,%s) RETURNING id",
            f"KZ-{self.number():06d}", carrier or self.carrier, self.carrier, self.route,
            at(86400), json.dumps(more.get("goods", goods)), '{"plate":"123ABC02"}',
            more.get("status", "in_transit"), at(0),
        )  # fmt: skip

    def device(self, delivery: UUID, device_id: str, kind: str = "gps") -> int:
        """A device bound to a delivery from `T0` on."""
        no = self._id(
            "INSERT INTO devices (id, kind, hmac_required, moving_s, parked_s)"
            " VALUES (%s, %s, false, 60, 600) RETURNING device_no", device_id, kind,
        )  # fmt: skip
        self.conn.execute(
            "INSERT INTO bindings (delivery_id, device_no, bound_from) VALUES (%s,%s,%s)",
            (delivery, no, at(0)),
        )
        return int(no)

    def record(
        self, device_no: int, seq: int, when: datetime, lon: float, lat: float, **fix
    ) -> None:
        """A stored record with a fix."""
        t_ms = int(when.timestamp() * 1000)
        body = {
            "v": 1,
            "gen": 0,
            "seq": seq,
            "ts": t_ms,
            "fix": {"t": t_ms, "ok": True, "lat": lat, "lon": lon, "src": "gnss"} | fix,
        }
        self.conn.execute(
            "INSERT INTO telemetry (device_no, gen, seq, received_at, t_star, geom, body)"
            " VALUES (%s,0,%s,now(),%s,ST_SetSRID(ST_MakePoint(%s,%s),4326),%s)",
            (device_no, seq, when, lon, lat, json.dumps(body).encode()),
        )  # fmt: skip

    def position(self, device_no: int, delivery: UUID, lon: float, lat: float) -> None:
        """The newest position of a device, with the notification that goes with it."""
        with self.conn.transaction():
            self.conn.execute(
                "INSERT INTO device_positions (device_no, delivery_id, t, geom, speed_kmh, moving)"
                " VALUES (%s,%s,%s,ST_SetSRID(ST_MakePoint(%s,%s),4326),60,true)"
                " ON CONFLICT (device_no) DO UPDATE SET geom = excluded.geom, t = excluded.t,"
                " updated_at = clock_timestamp()",
                (device_no, delivery, at(self.number()), lon, lat),
            )
            self.conn.execute("SELECT pg_notify('tracker_positions', '')")

    def state(self, delivery: UUID, loss: int, level: str = "low") -> None:
        """What evaluation left of a delivery's risk."""
        self.conn.execute(
            "UPDATE delivery_state SET probability = 0.1, expected_loss_kzt = %s, level = %s"
            " WHERE delivery_id = %s", (loss, level, delivery),
        )  # fmt: skip

    def alert(self, delivery: UUID, code: str, severity: str = "high", **more: Any) -> UUID:
        """An alert with one line of history."""
        alert_id = self._id(
            "INSERT INTO alerts (delivery_id, code, status, severity, raised_at, due_at)"
            " VALUES (%s,%s,%s,%s,%s,%s) RETURNING id",
            delivery, code, more.get("status", "open"), severity, more.get("raised", at(60)),
            at(900),
        )  # fmt: skip
        self.conn.execute(
            "INSERT INTO alert_history (alert_id, at, who, what) VALUES (%s,%s,'system','raised')",
            (alert_id, at(60)),
        )
        return alert_id

    def anomaly(self, delivery: UUID, code: str, start: float = 60, **more: Any) -> UUID:
        """An anomaly as evaluation stores it."""
        return self._id(
            "INSERT INTO anomalies (delivery_id, device_id, code, eaeu_code, severity, basis,"
            " status, provisional, start_at, end_at, geom, evidence, found_at, found_by,"
            " settings_version, alert_id) VALUES (%s,'GPS-1',%s,'03',%s,'data',%s,false,%s,NULL,"
            " ST_SetSRID(ST_MakePoint(77,43.3),4326),%s,%s,%s,'1',%s) RETURNING id",
            delivery, code, more.get("severity", "high"), more.get("status", "open"), at(start),
            json.dumps(more.get("evidence", {"max_offset_m": 3200})), more.get("found", at(start)),
            '{"device":"GPS-1","gen":0,"seq":5}', more.get("alert"),
        )  # fmt: skip

    def event(self, kind: str, delivery: UUID, payload: dict[str, Any]) -> int:
        """An event of the outbox; its id."""
        with self.conn.transaction():
            append(self.conn, [Event(kind=kind, delivery_id=delivery, payload=payload)])
        return int(self._id("SELECT max(id) FROM outbox"))

    def token(self, app: FastAPI, username: str) -> dict[str, str]:
        """Headers of a logged-in user."""
        state = app.state.tracker
        database: Database = state.database
        with database.read() as session:
            user = find_active(session, username)
        assert user is not None
        return {"Authorization": f"Bearer {issue(user, state.settings).token}"}

    def client(self, app: FastAPI, username: str) -> TestClient:
        """A client logged in as a user; a fault answers 500 instead of raising."""
        headers = self.token(app, username)
        return TestClient(app, headers=headers, raise_server_exceptions=False)


@contextmanager
def serving(app: FastAPI) -> Iterator[str]:
    """The application behind a real server; yields its base URL. Streams need one."""
    config = uvicorn.Config(app, host="127.0.0.1", port=0, log_config=None, access_log=False)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    wait_until(lambda: server.started, 60, "the server")
    port = server.servers[0].sockets[0].getsockname()[1]
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        app.state.stop.set()
        server.should_exit = True
        thread.join(20)


class Listener:
    """Reads Server-Sent Events in the background and keeps them."""

    def __init__(self, url: str, headers: dict[str, str], **params: str) -> None:
        self.events: list[tuple[str, str | None, dict[str, Any]]] = []
        self.ready = threading.Event()
        self._request = {"url": url, "headers": headers, "params": params}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._read, daemon=True)

    def __enter__(self) -> Listener:
        self._thread.start()
        assert self.ready.wait(60), "the stream did not become ready"
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()

    def _read(self) -> None:
        with httpx.stream("GET", timeout=30, **self._request) as response:
            assert response.status_code == 200, response.read()
            kind, event_id, data = "", None, ""
            for line in response.iter_lines():
                if self._stop.is_set():
                    return
                name, _, value = line.partition(": ")
                if line == ": ready":
                    self.ready.set()
                elif name == "event":
                    kind = value
                elif name == "id":
                    event_id = value
                elif name == "data":
                    data = value
                elif not line and data:
                    self.events.append((kind, event_id, json.loads(data)))
                    kind, event_id, data = "", None, ""

    def of(self, kind: str) -> list[dict[str, Any]]:
        """The data of the events of one kind so far."""
        return [data for found, _, data in self.events if found == kind]
