"""A secured stack as devices and operators meet it: real mosquitto_pub, real certificates."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg

from tests.support.mqtt_device import topic_of
from tests.support.stack import Stack
from tests.support.waiting import wait_until
from tracker.embedded.parts import find_mosquitto_pub

WAIT_S = 90.0
"""After a restart the broker hears of news only when it has settled, which is 15 s of it."""


def record(seq: int, **more: Any) -> dict[str, Any]:
    """A record of a minute ago."""
    t_ms = int((datetime.now(UTC) - timedelta(minutes=1)).timestamp() * 1000) + seq
    fix = {"t": t_ms, "ok": True, "lat": 43.25, "lon": 76.9, "src": "gnss"}
    return {"v": 1, "gen": 0, "seq": seq, "ts": t_ms, "fix": fix, **more}


def publish(
    port: int, topic: str, payload: bytes, *options: str, version: str = "5"
) -> subprocess.CompletedProcess[str]:
    """Publish with mosquitto_pub, QoS 1, as ``options`` say."""
    tools = find_mosquitto_pub()
    command = [tools.program, "-h", "127.0.0.1", "-p", str(port), "-V", version, "-q", "1"]
    return subprocess.run(
        [*command, *options, "-t", topic, "-m", payload.decode()],
        env={**os.environ, **tools.env},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@dataclass(frozen=True)
class SecureWorld:
    """A running ``tracker up --secure``."""

    stack: Stack

    @property
    def mqtt(self) -> dict[str, Any]:
        """What the one JSON line says of the broker."""
        return dict(self.stack.info["mqtt"])

    @property
    def ca(self) -> Path:
        """Folder of the certificate authority."""
        return Path(self.mqtt["ca"])

    def registered(self, device: str, kind: str = "gps", **more: Any) -> dict[str, Any]:
        """What registering a device answers."""
        with self.stack.http_client() as http:
            body = {"id": device, "kind": kind, **more}
            answer = http.post("/api/v1/devices", json=body)
        assert answer.status_code == 201, answer.text
        return dict(answer.json())

    def call(self, method: str, path: str, **more: Any) -> Any:
        """A call of the administrator; what it answers."""
        with self.stack.http_client() as http:
            answer = http.request(method, f"/api/v1{path}", **more)
        assert answer.is_success, answer.text
        return answer.json() if answer.content else None

    def login(self, made: dict[str, Any]) -> list[str]:
        """Options of mosquitto_pub with a registered device's password."""
        login = made["mqtt"]
        return [*self.tls, "-u", login["username"], "-P", login["password"]]

    @property
    def tls(self) -> list[str]:
        """Options of mosquitto_pub that trust the broker."""
        return ["--cafile", self.mqtt["tls_ca"]]

    def by_certificate(self, device: str) -> list[str]:
        """Options of mosquitto_pub with the certificate issued to a device."""
        files = self.ca / "devices"
        cert, key = files / f"{device}.crt", files / f"{device}.key"
        return [*self.tls, "--cert", str(cert), "--key", str(key)]

    def pub(
        self,
        device: str,
        body: Any,
        options: Sequence[str],
        *,
        kind: str = "gps",
        channel: str = "tlm",
        port: int | None = None,
        version: str = "5",
    ) -> subprocess.CompletedProcess[str]:
        """Publish to a device's topic with somebody's credentials."""
        payload = body if isinstance(body, bytes) else json.dumps(body).encode()
        topic = topic_of(device, kind, channel)
        return publish(port or self.mqtt["port"], topic, payload, *options, version=version)

    def admits(self, device: str, options: Sequence[str], *, port: int | None = None) -> bool:
        """Whether the broker takes an answer to a command, which stores no record."""
        done = self.pub(device, {"id": "probe"}, options, channel="rsp", port=port)
        return done.returncode == 0 and "Not authorized" not in done.stderr

    def wait_admitted(self, device: str, options: Sequence[str], port: int | None = None) -> None:
        """Wait until the broker knows a device."""
        wait_until(
            lambda: self.admits(device, options, port=port), WAIT_S, f"{device} to be let in"
        )

    def stored(self, device: str) -> set[int]:
        """The numbers of a device's records in the table."""
        with psycopg.connect(self.stack.dsn) as conn:
            rows = conn.execute(
                "SELECT seq FROM telemetry JOIN devices USING (device_no) WHERE id = %s", (device,)
            )
            return {seq for (seq,) in rows}

    def quarantined(self, device: str) -> list[str]:
        """The reasons of what is kept in quarantine of a device, in order."""
        with psycopg.connect(self.stack.dsn) as conn:
            rows = conn.execute(
                "SELECT reason FROM quarantine WHERE device_id = %s ORDER BY id", (device,)
            )
            return [reason for (reason,) in rows]
