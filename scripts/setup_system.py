"""Makes sure that PostgreSQL with PostGIS, Mosquitto and, for tests, a browser are there.

As root, or with a sudo that asks nothing, missing packages are installed; no system database is
created, no system service started or enabled, and the machine's settings stay as they were.
Otherwise, or with SETUP_PRIVATE set, they are unpacked under var/debs.
"""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import NamedTemporaryFile

from tracker.embedded.browser import find_browser
from tracker.embedded.parts import (
    OLDEST_POSTGRES,
    PRIVATE_ROOT,
    find_mosquitto,
    find_mosquitto_pub,
    find_postgres,
)
from tracker.errors import SetupError

ROOT = Path(__file__).resolve().parents[1]
DISTRIBUTION_MAJORS = {"bookworm": 15, "trixie": 17, "noble": 16}
KNOWN_MAJORS = range(18, OLDEST_POSTGRES - 1, -1)

NO_CLUSTER = Path("/etc/postgresql-common/createcluster.d/tracker-setup.conf")
NO_SERVICES = Path("/usr/sbin/policy-rc.d")
WANTED_SERVICES = Path("/etc/systemd/system/multi-user.target.wants")
FORBID_SERVICES = "#!/bin/sh\nexit 101\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """Something the machine must have: how to see it and which packages bring it."""

    find: Callable[[], object]
    packages: Callable[[], list[str]]


BROWSER_PACKAGES = ("chromium", "fonts-dejavu-core", "libatomic1")

PARTS = {
    "services": [
        Part(find=find_postgres, packages=lambda: _postgis_packages()),
        Part(find=find_mosquitto, packages=lambda: ["mosquitto"]),
        Part(find=find_mosquitto_pub, packages=lambda: ["mosquitto-clients"]),
    ],
    "browser": [Part(find=find_browser, packages=lambda: [*BROWSER_PACKAGES])],
}


def main(group: str) -> None:
    """Install what the group lacks and look again.

    Raises:
        SetupError: something could not be had.
    """
    missing = [part for part in PARTS[group] if not _present(part)]
    if not missing:
        return
    _say("system packages (" + ", ".join(p for part in missing for p in part.packages()) + ")")
    _install(missing)
    for part in missing:
        part.find()


def _present(part: Part) -> bool:
    try:
        part.find()
    except SetupError:
        return False
    return True


def _install(missing: list[Part]) -> None:
    become_root = None if os.environ.get("SETUP_PRIVATE") else _root_prefix()
    if become_root is None:
        packages = [name for part in missing for name in part.packages()]
        _run([str(ROOT / "scripts/apt_private"), str(PRIVATE_ROOT), *packages])
        return
    _run([*become_root, "apt-get", "-qq", "update"], fatal=False)
    packages = [name for part in missing for name in part.packages()]
    with _left_as_found(become_root):
        apt = [*become_root, "env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "-qq", "-y"]
        apt += ["-o", "DPkg::Lock::Timeout=120", "--no-install-recommends", "install"]
        _run([*apt, *packages])


def _root_prefix() -> list[str] | None:
    """The words before a command that make it run as root; ``None`` if there is no way."""
    if not shutil.which("apt-get"):
        return None
    if os.geteuid() == 0:
        return []
    if shutil.which("sudo"):
        asked = subprocess.run(["sudo", "-n", "true"], capture_output=True, check=False)
        if asked.returncode == 0:
            return ["sudo", "-n"]
    return None


def _postgis_packages() -> list[str]:
    """PostGIS for the PostgreSQL that is here, else for the newest one on offer."""
    installed = [
        major
        for major in KNOWN_MAJORS
        if Path(f"/usr/lib/postgresql/{major}/bin/postgres").exists()
    ]
    for major in [*installed, *KNOWN_MAJORS]:
        name = f"postgresql-{major}-postgis-3"
        if _on_offer(name):
            return [f"postgresql-{major}", name, f"{name}-scripts"]
    # No package lists here yet: what the distribution is known to carry.
    name = f"postgresql-{DISTRIBUTION_MAJORS.get(_codename(), 15)}"
    return [name, f"{name}-postgis-3", f"{name}-postgis-3-scripts"]


def _codename() -> str:
    with suppress(OSError):
        return platform.freedesktop_os_release().get("VERSION_CODENAME", "")
    return ""


def _on_offer(package: str) -> bool:
    if not shutil.which("apt-cache"):
        return False
    answer = subprocess.run(
        ["apt-cache", "madison", package], capture_output=True, text=True, check=False
    )
    return bool(answer.stdout.strip())


@contextmanager
def _left_as_found(become_root: list[str]) -> Iterator[None]:
    """No cluster of the system's own and no started services while packages are installed."""
    had_services = {name for name in ("postgresql", "mosquitto") if _is_service(name)}
    made = []
    for path, text in (
        (NO_CLUSTER, "create_main_cluster = false\n"),
        (NO_SERVICES, FORBID_SERVICES),
    ):
        if not path.exists():
            _write_as_root(become_root, path, text)
            made.append(path)
    try:
        yield
    finally:
        for path in made:
            _run([*become_root, "rm", "-f", str(path)])
        for name in {"postgresql", "mosquitto"} - had_services:
            if _is_service(name):
                _disable(become_root, name)


def _disable(become_root: list[str], name: str) -> None:
    """Keep a service that came with our packages from starting with the machine."""
    if shutil.which("systemctl"):
        _run([*become_root, "systemctl", "disable", "-q", name], fatal=False)
    else:
        _run([*become_root, "rm", "-f", str(WANTED_SERVICES / f"{name}.service")])


def _is_service(name: str) -> bool:
    return Path(f"/lib/systemd/system/{name}.service").exists()


def _write_as_root(become_root: list[str], path: Path, text: str) -> None:
    with NamedTemporaryFile("w", suffix=".setup") as source:
        source.write(text)
        source.flush()
        _run([*become_root, "install", "-D", "-m", "0755", source.name, str(path)])


def _run(command: list[str], *, fatal: bool = True) -> None:
    """Run with all output on stderr, so that stdout stays for results."""
    done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=sys.stderr, check=False)
    if done.returncode != 0 and fatal:
        raise SetupError(f"{Path(command[0]).name} failed (see above)")


def _say(text: str) -> None:
    sys.stderr.write(f"set-up: {text}\n")


def _explain(group: str, error: SetupError) -> None:
    """One line a missing part, or the failure itself where all seems to be there."""
    lines = []
    for part in PARTS[group]:
        with suppress(SetupError):
            part.find()
            continue
        packages = " ".join(part.packages())
        lines.append(f"{packages} could not be had; as root: apt-get install {packages}")
    for line in lines or [error.detail]:
        _say(line)


if __name__ == "__main__":
    try:
        main(sys.argv[1])
    except SetupError as exc:
        _explain(sys.argv[1], exc)
        sys.exit(1)
