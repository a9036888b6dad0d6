"""The folder that a secured broker reads: configuration, access list, passwords, TLS files."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import msgspec

from tracker.adapters import TRACCAR_TOPIC
from tracker.broker.ca import CertificateAuthority
from tracker.broker.passwords import hashed, matches, new_password
from tracker.broker.rules import (
    INGEST_USER,
    SERVICE_USERS,
    Login,
    Paths,
    Ports,
    acl_text,
    password_text,
    secure_config,
)
from tracker.errors import SetupError

Own = Callable[[Path], None]
"""Hands a file or folder over to the account that the broker runs under."""


def keep_owner(_path: Path) -> None:
    """The broker runs as whoever writes the files."""


class BrokerFolder:
    """Files of one broker. ``own`` is applied to all that the broker must read.

    ``traccar_topic``: the setting of that name, which ingest subscribes to.
    """

    def __init__(
        self,
        home: Path,
        *,
        authority: CertificateAuthority,
        services: Mapping[str, str],
        own: Own = keep_owner,
        traccar_topic: str = TRACCAR_TOPIC,
    ) -> None:
        self.paths = Paths(home=home)
        self.authority = authority
        self._services = services
        self._own = own
        self._traccar_topic = traccar_topic
        self._hashes: dict[str, str] = {}

    def configure(self, ports: Ports, *, hosts: Sequence[str], data: Path | None = None) -> None:
        """Write configuration and certificates; make the authority if there is none.

        ``data``: where the broker keeps its state, by default beside its configuration.
        """
        if not self.authority.exists:
            self.authority.init()
        home = self.paths.home
        state = data or home / "data"
        for folder in (home, home / "tls", state):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._own(folder)
        self.authority.server(hosts, home / "tls")
        for name in ("server.crt", "server.key"):
            self._own(self.paths.tls(name))
        self._put(self.paths.tls("ca.crt"), self.authority.certificate_path.read_text(), 0o644)
        self._put(self.paths.config, secure_config(ports, self.paths, state), 0o644)

    def write(self, logins: Sequence[Login]) -> bool:
        """Write who may connect and do what; whether anything has changed."""
        with_password = {login.device for login in logins if login.password_hash}
        barred = sorted(self.authority.barred() - with_password)
        changed = [
            self._put(self.paths.passwords, password_text(self._service_hashes(), logins), 0o600),
            self._put(self.paths.acl, self._acl(logins, barred), 0o600),
            self._put(self.paths.tls("crl.pem"), self.authority.crl_path.read_text(), 0o644),
        ]
        return any(changed)

    def reload(self) -> bool:
        """Have the broker read its files again; False if it does not run."""
        try:
            pid = int(self.paths.pid.read_text())
            os.kill(pid, signal.SIGHUP)
        except (OSError, ValueError):
            return False
        return True

    def _acl(self, logins: Sequence[Login], barred: Sequence[str]) -> str:
        return acl_text(logins, barred, traccar_topic=self._traccar_topic)

    def _service_hashes(self) -> dict[str, str]:
        """The hashes of the server's users: those of last time, so that the file stays the same."""
        if not self._hashes:
            known = _lines_of(self.paths.passwords)
            for name, password in self._services.items():
                last = known.get(name, "")
                self._hashes[name] = last if matches(password, last) else hashed(password)
        return self._hashes

    def _put(self, path: Path, content: str, mode: int) -> bool:
        """Write a file whole or not at all; False if it was so before."""
        if path.exists() and path.read_text() == content:
            return False
        draft = path.with_name(path.name + ".new")
        draft.unlink(missing_ok=True)
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "w") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        self._own(draft)
        draft.replace(path)
        return True


def _lines_of(path: Path) -> dict[str, str]:
    if not path.exists():
        return {}
    pairs = (line.partition(":") for line in path.read_text().splitlines())
    return {name: hash_ for name, _, hash_ in pairs}


def service_passwords(path: Path) -> dict[str, str]:
    """The passwords of the server's own users, made at the first call and kept in ``path``.

    Raises:
        SetupError: the file is damaged.
    """
    known: dict[str, str] = {}
    if path.exists():
        try:
            known = msgspec.json.decode(path.read_bytes(), type=dict[str, str])
        except msgspec.DecodeError as exc:
            raise SetupError(f"{path} is damaged ({exc}): restore it, or remove it") from exc
    complete = {name: known.get(name) or new_password() for name in SERVICE_USERS}
    if complete != known:
        write_secret(path, msgspec.json.encode(complete).decode())
    return complete


def ingest_environment(folder: BrokerFolder, ports: Ports, host: str, password: str) -> str:
    """The settings with which ingest reaches the broker, as lines of an environment file."""
    values = {
        "MQTT_HOST": host,
        "MQTT_PORT": str(ports.services),
        "MQTT_USERNAME": INGEST_USER,
        "MQTT_PASSWORD": password,
        "MQTT_TLS_CA": str(folder.authority.certificate_path),
    }
    return "".join(f"TRACKER_{name}={value}\n" for name, value in values.items())


def write_secret(path: Path, content: str) -> None:
    """Write a file for the owner only."""
    draft = path.with_name(path.name + ".new")
    draft.unlink(missing_ok=True)
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(content)
    draft.replace(path)
