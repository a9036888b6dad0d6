"""A private Mosquitto broker on the loopback: open to all there, or secured."""

from __future__ import annotations

import signal
import socket
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, Self

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion

from tracker.broker.rules import LIMITS as LIMITS
from tracker.broker.rules import open_config
from tracker.embedded import children
from tracker.embedded.children import LOOPBACK, Account
from tracker.embedded.parts import MosquittoTools
from tracker.errors import SetupError

START_S = 20.0
STOP_S = 10.0

SETTLE_S = 15.0
"""After a restart the broker is not told of news before ingest, which tries again every 10 s, is
back: Mosquitto 2.0 forgets the rights of restored sessions at a reload until their owner connects,
and drops what comes for them meanwhile."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """How to reach a broker. ``tls_ca``: the authority to trust; with it TLS is on."""

    host: str
    port: int
    username: str | None = None
    password: str | None = None
    tls_ca: Path | None = None


class Secured(Protocol):
    """Access control of a broker: files written before each start."""

    @property
    def config(self) -> Path:
        """The configuration to start with."""

    def write(self, home: Path) -> None:
        """Write everything the broker reads; ``home``: where it keeps its state."""


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
        secured: Secured | None = None,
    ) -> None:
        self._tools = tools
        self._home = home
        self._log = log
        self._account = account
        self._held = held
        self._secured = secured
        self._process: subprocess.Popen[bytes] | None = None
        self._settled_s = 0.0
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
        self._settled_s = time.monotonic() + SETTLE_S if self._process else 0.0
        config = self._write_config(port)
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

    def reload(self) -> bool:
        """Have it read its users and certificates again; False while that cannot be."""
        process = self._process
        if process is None or process.poll() is not None or time.monotonic() < self._settled_s:
            return False
        process.send_signal(signal.SIGHUP)
        return True

    def _write_config(self, port: int) -> Path:
        if self._secured is not None:
            self._secured.write(self._home)
            return self._secured.config
        config = self._home / "mosquitto.conf"
        config.write_text(open_config(port=port, data=self._home))
        self._account.own(config)
        return config

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
