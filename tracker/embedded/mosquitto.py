"""A private Mosquitto broker on the loopback, and the one place of its configuration."""

from __future__ import annotations

import socket
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Self

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion

from tracker.embedded import children
from tracker.embedded.children import LOOPBACK, Account
from tracker.embedded.parts import MosquittoTools
from tracker.errors import SetupError

START_S = 20.0
STOP_S = 10.0

LIMITS = {
    # A broker killed outright loses what came after the last save; the devices send it again.
    "autosave_interval": "2",
    # Past this Mosquitto drops in silence; a minute of 10,000 devices and a good margin fit in.
    "max_queued_messages": "1000000",
    # Must not be below the ReceiveMaximum of ingest, or its batches starve.
    "max_inflight_messages": "8000",
    # Well above the 64 KiB of the contract, so that oversized messages reach the quarantine.
    "max_packet_size": "1048576",
    # Longer than the longest backlog a device may bring (30 days).
    "persistent_client_expiration": "60d",
    # `SubscriptionCount` waits for it at the start.
    "sys_interval": "1",
    "set_tcp_nodelay": "true",
}


def config_text(*, port: int, data: Path, bind: str = LOOPBACK) -> str:
    """The configuration of a broker that keeps its state in ``data``."""
    lines = [
        f"listener {port} {bind}",
        *_access(),
        "persistence true",
        f"persistence_location {data}/",
        *(f"{name} {value}" for name, value in LIMITS.items()),
        "connection_messages false",
        "log_dest stderr",
        "log_timestamp_format %Y-%m-%dT%H:%M:%S",
        *(f"log_type {kind}" for kind in ("error", "warning", "notice")),
    ]
    return "\n".join(lines) + "\n"


def _access() -> list[str]:
    """Who may connect. On the loopback everybody; TLS, passwords and the ACL belong here."""
    return ["allow_anonymous true"]


class PrivateMosquitto:
    """One broker under ``home``."""

    def __init__(
        self,
        *,
        tools: MosquittoTools,
        home: Path,
        log: Path,
        account: Account,
        held: Sequence[int] = (),
    ) -> None:
        self._tools = tools
        self._home = home
        self._log = log
        self._account = account
        self._held = held
        self._process: subprocess.Popen[bytes] | None = None
        self.host = LOOPBACK
        self.port = 0

    @property
    def process(self) -> subprocess.Popen[bytes] | None:
        """The broker's process while it runs."""
        return self._process

    def prepare(self) -> None:
        """Make its folder and hand it to the account it runs under."""
        self._home.mkdir(mode=0o700, exist_ok=True)
        self._account.own(self._home)

    def start(self, port: int) -> None:
        """Start on ``port`` and wait until it accepts connections.

        Raises:
            SetupError: it did not come up; the text holds its last log line.
        """
        self.port = port
        self.prepare()
        config = self._home / "mosquitto.conf"
        config.write_text(config_text(port=port, data=self._home))
        self._account.own(config)
        with self._log.open("ab") as log:
            self._process = children.start(
                [self._tools.program, "-c", str(config)],
                account=self._account,
                env=self._tools.env,
                stdout=log,
                stderr=log,
                held=self._held,
            )
        self._wait_ready()

    def stop(self) -> None:
        """End it; durable sessions and queued messages are saved."""
        if self._process:
            children.end(self._process, timeout_s=STOP_S)
            self._process = None

    def _wait_ready(self) -> None:
        deadline = time.monotonic() + START_S
        while self._process is not None and self._process.poll() is None:
            try:
                with socket.create_connection((self.host, self.port), timeout=1):
                    return
            except OSError as exc:
                if time.monotonic() > deadline:
                    self.stop()
                    raise SetupError(f"Mosquitto does not answer; see {self._log}") from exc
            time.sleep(0.05)
        last = self._log.read_text(errors="replace").splitlines()[-1:]
        raise SetupError(f"Mosquitto ended: {' '.join(last) or 'no message'} (log: {self._log})")


class SubscriptionCount:
    """Asks the broker how many subscriptions it holds. Use as a context manager.

    What is published before ingest has subscribed for the first time reaches nobody, so a stack
    is not ready before.
    """

    TOPIC = "$SYS/broker/subscriptions/count"

    def __init__(self, *, host: str, port: int) -> None:
        self._count = 0
        self._client = mqtt.Client(CallbackAPIVersion.VERSION2)
        self._client.on_connect = lambda client, *_: client.subscribe(self.TOPIC)
        self._client.on_message = self._noted
        self._client.connect_async(host, port)

    def __enter__(self) -> Self:
        self._client.loop_start()
        return self

    def __exit__(self, *_: object) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    @property
    def of_others(self) -> int:
        """Subscriptions besides the one that asks."""
        return self._count - 1

    def _noted(self, _client: mqtt.Client, _data: object, message: mqtt.MQTTMessage) -> None:
        self._count = int(message.payload)
