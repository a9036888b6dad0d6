"""The API on a database of the test's own, driven as its users drive it: by HTTP alone."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
from fastapi.testclient import TestClient

from tracker.api.app import create_app
from tracker.db.users import ensure_admin
from tracker.settings import Settings

SECRET = "a secret of at least thirty-two characters"
PASSWORD = "a long pass phrase"
NAME = {"ru": "Место", "kk": "Орын", "en": "Place"}
NOW = datetime.now(UTC).replace(microsecond=0)
SQUARE = [[76.0, 43.0], [76.1, 43.0], [76.1, 43.1], [76.0, 43.1], [76.0, 43.0]]


def stamp(at: datetime) -> str:
    """An instant as the API writes it."""
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def after(**span: float) -> str:
    """An instant after (or, with a negative span, before) the start of the tests."""
    return stamp(NOW + timedelta(**span))


class ApiWorld:
    """An application with an administrator, two posts, a lane and two participants."""

    def __init__(self, dsn: str, **settings: Any) -> None:
        ensure_admin(dsn, "admin", PASSWORD)
        self.app = create_app(
            Settings(database_url=dsn, secret_key=SECRET, database_pool_size=4, **settings)
        )
        self.http = TestClient(self.app, raise_server_exceptions=False)
        self._numbers = itertools.count(1)
        self._tokens: dict[str, str] = {}

    def close(self) -> None:
        """End the application's connections."""
        self.http.close()
        self.app.state.tracker.database.close()

    # ------------------------------------------------------------ calls

    def token(self, username: str = "admin") -> str:
        """A bearer token."""
        if username not in self._tokens:
            form = {"username": username, "password": PASSWORD}
            answer = self.http.post("/api/v1/auth/token", data=form)
            assert answer.status_code == 200, answer.text
            self._tokens[username] = answer.json()["access_token"]
        return self._tokens[username]

    def call(self, method: str, path: str, *, who: str = "admin", **kwargs: Any) -> httpx.Response:
        """A call under /api/v1 by a user."""
        headers = {"Authorization": f"Bearer {self.token(who)}", **kwargs.pop("headers", {})}
        answer = self.http.request(method, f"/api/v1{path}", headers=headers, **kwargs)
        assert answer.status_code < 500, f"{method} {path}: {answer.status_code} {answer.text}"
        return answer

    def post(self, path: str, body: Any, *, who: str = "admin", **more: Any) -> httpx.Response:
        """POST a JSON body."""
        return self.call("POST", path, who=who, json=body, **more)

    def made(self, path: str, body: Any) -> dict[str, Any]:
        """What a creation by the administrator answers."""
        answer = self.post(path, body)
        assert answer.status_code == 201, answer.text
        return dict(answer.json())

    def get(self, path: str, *, who: str = "admin", **params: Any) -> dict[str, Any]:
        """What reading answers."""
        answer = self.call("GET", path, who=who, params=params)
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    # ------------------------------------------------------------ things

    def number(self) -> int:
        """A number not given before."""
        return next(self._numbers)

    def user(self, username: str, role: str, **more: Any) -> str:
        """Create a user and return the name."""
        body = {"username": username, "password": PASSWORD, "role": role, **more}
        self.made("/users", body)
        return username

    def participant(self, kind: str = "both") -> str:
        """Create a participant and return its id."""
        number = self.number()
        body = {
            "name": f"Carrier {number}",
            "kind": kind,
            "tax_id": f"X{number}",
            "country": "CN",
            "facts": {"years_in_fea": 5},
        }
        return str(self.made("/participants", body)["id"])

    def device(self, kind: str = "gps") -> str:
        """Register a device and return its id."""
        device_id = f"{kind}-{self.number()}"
        self.made("/devices", {"id": device_id, "kind": kind})
        return device_id

    def lane(self) -> None:
        """Two posts, a route between them, a carrier and a declarant."""
        for code, lon, lat in (("P1", 76.9, 43.25), ("P2", 77.9, 43.25), ("P3", 70.0, 50.0)):
            point = {"type": "Point", "coordinates": [lon, lat]}
            self.made("/posts", {"code": code, "name": NAME, "geometry": point, "country": "KZ"})
        line = {"type": "LineString", "coordinates": [[76.9, 43.25], [77.4, 43.3], [77.9, 43.25]]}
        self.made("/routes", {"code": "R1", "name": "A2", "geometry": line, "corridor_m": 1000})
        self.carrier, self.declarant = self.participant("carrier"), self.participant("declarant")

    def delivery_body(self, **more: Any) -> dict[str, Any]:
        """A body that is accepted as it stands."""
        body = {
            "registration_number": f"55301/{self.number():07d}",
            "direction": "import",
            "carrier_id": self.carrier,
            "declarant_id": self.declarant,
            "departure_post": "P1",
            "destination_post": "P2",
            "route_code": "R1",
            "deadline": after(days=2),
            "goods": [
                {
                    "hs_code": "8517130000",
                    "description": "Smartphones",
                    "gross_kg": 4200.5,
                    "value_kzt": 399_000_000,
                    "payments_at_stake_kzt": 52_080_000,
                }
            ],
            "vehicle": {"plate": "123 ABC 02", "country": "KZ"},
            "devices": [],
        }
        return body | more

    def delivery(self, **more: Any) -> dict[str, Any]:
        """Register a delivery and return it."""
        return self.made("/deliveries", self.delivery_body(**more))


def problem_of(answer: httpx.Response, status: int) -> dict[str, Any]:
    """The problem of an answer, after checking that it is one in full."""
    assert answer.status_code == status, f"{answer.status_code} {answer.text}"
    assert answer.headers["content-type"] == "application/problem+json"
    body = dict(answer.json())
    assert body["status"] == status
    assert body["title"]
    assert body["detail"]
    assert "type" in body
    return body


def bad_fields(answer: httpx.Response, status: int = 422) -> dict[str, str]:
    """The bad fields of a refusal: dotted location → message."""
    errors = problem_of(answer, status).get("errors", [])
    return {".".join(map(str, e["loc"])): e["msg"] for e in errors}
