"""Child processes that end with their parent, and the account that services run under.

Every child is started through ``setpriv --pdeathsig``: the kernel signals it when the parent
dies, even by ``kill -9``. The kernel watches the *thread* that started the child, so start
children from a thread that lives as long as they should.
"""

from __future__ import annotations

import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from tracker.errors import SetupError

LOOPBACK = "127.0.0.1"
LOWEST_PORT = 10_000
OUTGOING_PORTS = Path("/proc/sys/net/ipv4/ip_local_port_range")
TRIES = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """Who a service runs as: ``None`` in ``uid`` means the user who started us."""

    uid: int | None = None
    gid: int | None = None
    capability: str | None = None

    def options(self) -> list[str]:
        """The ``setpriv`` options that switch to this account."""
        if self.uid is None:
            return []
        options = [f"--reuid={self.uid}", f"--regid={self.gid}", "--clear-groups"]
        kept = f",+{self.capability}" if self.capability else ""
        options += [f"--{which}=-all{kept}" for which in ("inh-caps", "bounding-set")]
        if kept:
            # Without this bit access(2), with which initdb looks for its programs, leaves
            # capabilities out of an account that is not root.
            options += [f"--ambient-caps=-all{kept}", "--securebits=+no_setuid_fixup"]
        return options

    def own(self, path: Path) -> None:
        """Hand a file or folder over to this account."""
        if self.uid is not None and self.gid is not None:
            os.chown(path, self.uid, self.gid)


def service_account(*needed: Path, data: Path) -> Account | None:
    """The account for services that must reach the ``needed`` files and folders.

    PostgreSQL refuses to run as root. Its account may not be able to enter the folders above its
    data; their modes are not ours to change, so where needed the service keeps one capability
    that lets it pass through them. Where ``data`` exists already its owner stays the same.

    Returns:
        The account, or ``None`` when no allowed way leads to the files.
    """
    if os.geteuid() != 0:
        return Account()
    uid, gid = _service_ids(data)
    for capability in (None, "dac_read_search", "dac_override"):
        account = Account(uid=uid, gid=gid, capability=capability)
        if all(_can_reach(account, path) for path in needed):
            return account
    return None


def start(
    argv: Sequence[str],
    *,
    account: Account | None = None,
    death_signal: signal.Signals = signal.SIGTERM,
    env: Mapping[str, str] | None = None,
    stdout: IO[bytes] | int | None = None,
    stderr: IO[bytes] | int | None = None,
    held: Sequence[int] = (),
) -> subprocess.Popen[bytes]:
    """Start a child in its own session, which gets ``death_signal`` when this thread ends.

    The child keeps the file descriptors ``held`` open, and with them their locks.
    """
    command = [_setpriv(), f"--pdeathsig={death_signal.name.removeprefix('SIG')}"]
    command += (account or Account()).options()
    return subprocess.Popen(
        [*command, "--", *argv],
        env={**os.environ, **(env or {})},
        cwd="/",
        stdin=subprocess.DEVNULL,
        stdout=stdout,
        stderr=stderr,
        start_new_session=True,
        pass_fds=held,
    )


def run(argv: Sequence[str], *, account: Account, env: Mapping[str, str]) -> str:
    """Run a program to its end under ``account`` and return its output.

    Raises:
        SetupError: it failed; the text holds its last line.
    """
    process = start(
        argv, account=account, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    output = process.communicate()[0].decode(errors="replace")
    if process.returncode != 0:
        lines = [line for line in output.splitlines() if line.strip()]
        errors = [line for line in lines if "error" in line.lower()] or lines[-1:]
        raise SetupError(f"{Path(argv[0]).name} failed: {'; '.join(errors) or 'no output'}")
    return output


def end(
    process: subprocess.Popen[bytes], *, how: signal.Signals = signal.SIGTERM, timeout_s: float
) -> None:
    """Ask a child to end, wait, and kill its session if it does not within ``timeout_s``."""
    if process.poll() is None:
        process.send_signal(how)
        try:
            process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


_given: set[int] = set()


def free_port() -> int:
    """A TCP port on the loopback that nobody listens on now.

    From below those that the system gives to outgoing connections: one of them could take the port
    between our look and the start of whom it is for. For the same reason this process is given none
    twice: several are often drawn before the first is listened on.
    """
    for _ in range(TRIES):
        port = LOWEST_PORT + secrets.randbelow(max(1, _lowest_outgoing_port() - LOWEST_PORT))
        if port not in _given and port_is_free(port):
            _given.add(port)
            return port
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        return int(probe.getsockname()[1])


def _lowest_outgoing_port() -> int:
    return int(OUTGOING_PORTS.read_text().split()[0])


def port_is_free(port: int) -> bool:
    """Whether nobody listens on the loopback port now."""
    with socket.socket() as probe:
        # As the servers do: a port whose old connections linger counts as free.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
        return True


def choose_port(*, wanted: int | None, last: int | None, what: str) -> int:
    """The wanted port, else the one of last time if free, else any free one.

    Raises:
        SetupError: the wanted port is taken.
    """
    if wanted:
        if not port_is_free(wanted):
            raise SetupError(f"port {wanted} for {what} is taken: end its user or give another")
        _given.add(wanted)
        return wanted
    if last and port_is_free(last):
        _given.add(last)
        return last
    return free_port()


def _service_ids(data: Path) -> tuple[int, int]:
    """User and group numbers of the services' account."""
    if data.exists() and data.stat().st_uid != 0:
        return data.stat().st_uid, data.stat().st_gid
    for name in ("postgres", "nobody"):
        try:
            user = pwd.getpwnam(name)
        except KeyError:
            continue
        return user.pw_uid, user.pw_gid
    raise SetupError("no user postgres or nobody for the services: adduser --system postgres")


def _can_reach(account: Account, path: Path) -> bool:
    # Not `test -x`: access(2) leaves capabilities out. Reading its own entry needs the way in.
    entry = f"{path}/." if path.is_dir() else str(path)
    command = [_setpriv(), *account.options(), "--", "/usr/bin/stat", entry]
    return subprocess.run(command, capture_output=True, check=False, cwd="/").returncode == 0


def _setpriv() -> str:
    found = shutil.which("setpriv", path=f"{os.environ.get('PATH', '')}:/usr/bin:/bin")
    if not found:
        raise SetupError("setpriv is missing: apt-get install util-linux")
    return found
