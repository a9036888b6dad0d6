"""The private broker with TLS, passwords and an access list: ``tracker up --secure``."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import structlog

from tracker.broker.ca import CertificateAuthority
from tracker.broker.folder import BrokerFolder, service_passwords
from tracker.broker.rules import INGEST_USER, LOOPBACK, TRACCAR_USER, Ports
from tracker.broker.sync import Sync, sync_once
from tracker.embedded.children import Account
from tracker.embedded.mosquitto import Access, PrivateMosquitto
from tracker.errors import SetupError
from tracker.settings import load_settings

HOSTS = (LOOPBACK, "localhost")

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class SecuredBroker:
    """What a secured private broker is started with."""

    authority: CertificateAuthority
    folder: BrokerFolder
    ports: Ports
    passwords: dict[str, str]
    database_url: str

    def write(self, home: Path) -> None:
        """Write everything the broker reads, from the database as it is now.

        Raises:
            SetupError: the database is away and there is nothing from before to start with.
        """
        self.folder.configure(self.ports, hosts=HOSTS, data=home)
        try:
            sync_once(self.folder, self.database_url)
        except psycopg.Error as exc:
            if not self.folder.paths.passwords.exists():
                raise SetupError(f"the broker's users cannot be read: {exc}") from exc
            log.warning("the broker starts with the users of last time", error=str(exc))

    @property
    def config(self) -> Path:
        """The configuration to start with."""
        return self.folder.paths.config

    @property
    def access(self) -> Access:
        """How ingest reaches it."""
        return Access(
            host=LOOPBACK,
            port=self.ports.services,
            username=INGEST_USER,
            password=self.passwords[INGEST_USER],
            tls_ca=self.authority.certificate_path,
        )

    def info(self) -> dict[str, Any]:
        """What callers of ``tracker up --secure`` are told besides host and port."""
        return {
            "tls_ca": str(self.authority.certificate_path),
            "certificates_port": self.ports.certificates,
            "services": {
                "port": self.ports.services,
                "users": {name: self.passwords[name] for name in (INGEST_USER, TRACCAR_USER)},
            },
            "ca": str(self.authority.home),
        }


def secured_broker(
    data: Path, home: Path, account: Account, ports: Ports, database_url: str
) -> SecuredBroker:
    """The secured broker of a stack: its authority and secrets stay with the stack's owner."""
    passwords = service_passwords(data / "broker-users.json")
    authority = CertificateAuthority(data / "ca")
    folder = BrokerFolder(
        home,
        authority=authority,
        services=passwords,
        own=account.own,
        traccar_topic=load_settings().traccar_topic,
    )
    return SecuredBroker(
        authority=authority,
        folder=folder,
        ports=ports,
        passwords=passwords,
        database_url=database_url,
    )


class SyncThread:
    """Keeps the broker's files up to date beside the supervisor; started again if it falls."""

    def __init__(self, secured: SecuredBroker, mosquitto: PrivateMosquitto) -> None:
        self._sync = Sync(secured.folder, secured.database_url, mosquitto.reload)
        self._stop = threading.Event()
        self._thread = self._new()

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def tend(self) -> None:
        """Start it again if a fault has ended it."""
        if not self._thread.is_alive() and not self._stop.is_set():
            log.error("the keeper of the broker's users had ended, starting it again")
            self._thread = self._new()
            self._thread.start()

    def end(self) -> None:
        """End it."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(10)

    def _new(self) -> threading.Thread:
        return threading.Thread(
            target=self._sync.run, args=(self._stop,), name="broker-users", daemon=True
        )
