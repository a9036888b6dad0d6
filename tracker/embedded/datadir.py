"""The directory of one stack: who may use it, what is remembered in it, whether it has room."""

from __future__ import annotations

import fcntl
import json
import os
import secrets
import shutil
import tempfile
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Self

from tracker.embedded.children import Account, service_account
from tracker.errors import SetupError
from tracker.evidence.manifest import new_key

LEAST_FREE_BYTES = 512 * 2**20
"""A fresh cluster takes about 60 MB; its write-ahead log may grow to some hundred more."""

LARGEST_LOG_BYTES = 50 * 2**20
LEFT_OVER_S = 25.0


@dataclass(slots=True)
class Memory:
    """What must be the same at the next start; kept in ``stack.json``, for the owner only."""

    database_password: str = field(default_factory=lambda: secrets.token_urlsafe(24))
    admin_password: str = field(default_factory=lambda: secrets.token_urlsafe(12))
    secret_key: str = field(default_factory=lambda: secrets.token_urlsafe(48))
    ports: dict[str, int] = field(default_factory=dict)


class DataDir:
    """A locked data directory. Use as a context manager; the lock ends with it."""

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()
        self.memory = Memory()
        self._lock = -1
        self.children_lock = -1

    def __enter__(self) -> Self:
        """Make it if absent, lock it, read what is remembered.

        Raises:
            SetupError: it cannot be made or written, is full, or another stack runs on it.
        """
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            (self.path / "logs").mkdir(exist_ok=True)
            self._take_locks()
            _require_space(self.path)
            self._recall()
        except OSError as exc:
            self.__exit__()
            raise SetupError(f"cannot use {self.path}: {exc.strerror}") from exc
        except SetupError:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for lock in (self._lock, self.children_lock):
            if lock >= 0:
                os.close(lock)
        self._lock = self.children_lock = -1

    def remember(self) -> None:
        """Write the memory: whole or not at all, readable by the owner only."""
        draft = self.path / "stack.json.new"
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            json.dump(asdict(self.memory), file, indent=1)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(self.path / "stack.json")

    def evidence_key(self) -> Path:
        """The key that signs evidence packs; made once, readable by the owner only."""
        path = self.path / "evidence.key"
        if not path.exists():
            with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as out:
                out.write(new_key())
        return path

    def log(self, name: str) -> Path:
        """Log file of a process; a large one of earlier runs is set aside."""
        path = self.path / "logs" / f"{name}.log"
        if path.exists() and path.stat().st_size > LARGEST_LOG_BYTES:
            path.replace(path.with_suffix(".log.1"))
        return path

    def services(self, *programs: Path) -> tuple[Path, Account]:
        """Where the services keep their data, and the account that reaches it.

        Normally the directory itself. Where root's closed folders cannot be passed by any
        account, a folder of its own outside, which the link ``services`` points to.

        Raises:
            SetupError: the account cannot reach the programs.
        """
        link = self.path / "services"
        home = link.resolve() if link.is_symlink() else self.path
        account = service_account(home, *programs, data=home / "postgres")
        if account is None and home == self.path:
            home = Path(tempfile.mkdtemp(prefix="tracker-", dir="/var/tmp"))
            home.chmod(0o711)
            link.symlink_to(home)
            account = service_account(home, *programs, data=home / "postgres")
        if account is None:
            raise SetupError(f"the services' account cannot reach {home} or {programs[0]}")
        _require_space(home)
        return home, account

    def _take_locks(self) -> None:
        self._lock = _open_lock(self.path / "lock")
        if not _try_lock(self._lock):
            raise SetupError(f"a stack already runs on {self.path}: end it or give another --data")
        # Every child holds this one open: after a kill of the parent they need a moment to end.
        self.children_lock = _open_lock(self.path / "children.lock")
        deadline = time.monotonic() + LEFT_OVER_S
        while not _try_lock(self.children_lock):
            if time.monotonic() > deadline:
                raise SetupError(
                    f"processes of an earlier stack still run on {self.path}: end them"
                )
            time.sleep(0.1)

    def _recall(self) -> None:
        remembered = self.path / "stack.json"
        if remembered.exists():
            try:
                self.memory = Memory(**json.loads(remembered.read_text()))
            except (ValueError, TypeError) as exc:
                raise SetupError(f"{remembered} is damaged: give another --data") from exc
        else:
            self.remember()


def _open_lock(path: Path) -> int:
    return os.open(path, os.O_RDWR | os.O_CREAT, 0o600)


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _require_space(path: Path) -> None:
    free = shutil.disk_usage(path).free
    if free < LEAST_FREE_BYTES:
        raise SetupError(
            f"no disk space: {free // 2**20} MB free at {path}, "
            f"{LEAST_FREE_BYTES // 2**20} MB needed; free some or give another --data"
        )
