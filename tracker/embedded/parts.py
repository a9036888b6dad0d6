"""Finds PostgreSQL with PostGIS and Mosquitto: the machine's own, else what set-up unpacked."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from tracker.errors import SetupError

PRIVATE_ROOT = Path(__file__).resolve().parents[2] / "var" / "debs"
"""Where set-up unpacks packages when it may not install them."""

OLDEST_POSTGRES = 15
"""``MERGE``, multiranges with GiST and ``UNIQUE NULLS NOT DISTINCT`` are taken for granted."""

REMEDY = "run `make setup`, or as root: apt-get install"


@dataclass(frozen=True, slots=True, kw_only=True)
class PostgresTools:
    """One PostgreSQL installation that holds PostGIS."""

    bin_dir: Path
    major: int
    env: dict[str, str]

    def program(self, name: str) -> str:
        """Full path of one of its programs, for example ``initdb``."""
        return str(self.bin_dir / name)


@dataclass(frozen=True, slots=True, kw_only=True)
class MosquittoTools:
    """A Mosquitto broker."""

    program: str
    env: dict[str, str]


def find_postgres(private_root: Path = PRIVATE_ROOT) -> PostgresTools:
    """The newest PostgreSQL with PostGIS on this machine.

    Raises:
        SetupError: there is none, or only ones that are too old or lack PostGIS.
    """
    found = [(_major(path), path) for path in _postgres_dirs(private_root)]
    fresh = [(major, path) for major, path in found if major >= OLDEST_POSTGRES]
    usable = [(major, path) for major, path in fresh if _has_postgis(path)]
    if usable:
        major, path = max(usable, key=lambda item: item[0])
        return PostgresTools(bin_dir=path, major=major, env=_env_for(path, private_root))
    if fresh:
        major = max(major for major, _ in fresh)
        raise SetupError(
            f"PostGIS is missing for PostgreSQL {major}: {REMEDY} postgresql-{major}-postgis-3"
        )
    if found:
        major = max(major for major, _ in found)
        raise SetupError(
            f"PostgreSQL {major} is too old, {OLDEST_POSTGRES} or newer is needed: "
            f"{REMEDY} postgresql-15-postgis-3"
        )
    raise SetupError(f"PostgreSQL with PostGIS is missing: {REMEDY} postgresql-15-postgis-3")


def find_mosquitto(private_root: Path = PRIVATE_ROOT) -> MosquittoTools:
    """The Mosquitto broker of this machine.

    Raises:
        SetupError: there is none.
    """
    for folder in (*_search_path(), private_root / "usr/sbin"):
        program = folder / "mosquitto"
        if os.access(program, os.X_OK):
            return MosquittoTools(program=str(program), env=_env_for(program, private_root))
    raise SetupError(f"the Mosquitto broker is missing: {REMEDY} mosquitto")


def find_mosquitto_pub(private_root: Path = PRIVATE_ROOT) -> MosquittoTools:
    """Mosquitto's own publisher, with which tests and operators try a broker out.

    Raises:
        SetupError: there is none.
    """
    for folder in (*_search_path(), private_root / "usr/bin"):
        program = folder / "mosquitto_pub"
        if os.access(program, os.X_OK):
            return MosquittoTools(program=str(program), env=_env_for(program, private_root))
    raise SetupError(f"mosquitto_pub is missing: {REMEDY} mosquitto-clients")


def private_env(private_root: Path = PRIVATE_ROOT) -> dict[str, str]:
    """Variables with which unpacked programs find their libraries and data."""
    folders = [*private_root.glob("usr/lib/*-linux-*"), *private_root.glob("lib/*-linux-*")]
    # Found by Debian's alternatives or by absolute paths where packages are installed.
    apart = ("blas", "lapack", "pulseaudio")
    folders += [f / name for f in folders for name in apart if (f / name).is_dir()]
    inherited = os.environ.get("LD_LIBRARY_PATH")
    libraries = [*map(str, folders), *([inherited] if inherited else [])]
    return {
        "LD_LIBRARY_PATH": ":".join(libraries),
        "PROJ_DATA": str(private_root / "usr/share/proj"),
        "PROJ_LIB": str(private_root / "usr/share/proj"),
        "GDAL_DATA": str(private_root / "usr/share/gdal"),
    }


def _env_for(program: Path, private_root: Path) -> dict[str, str]:
    return private_env(private_root) if program.is_relative_to(private_root) else {}


def _search_path() -> list[Path]:
    # The sbin folders are often absent from an ordinary user's PATH.
    return [
        *(Path(part) for part in os.environ.get("PATH", "").split(":") if part),
        Path("/usr/local/sbin"),
        Path("/usr/sbin"),
    ]


def _postgres_dirs(private_root: Path) -> list[Path]:
    dirs = [*Path("/usr/lib/postgresql").glob("*/bin")]
    on_path = shutil.which("postgres")
    if on_path:
        dirs.append(Path(on_path).resolve().parent)
    dirs += private_root.glob("usr/lib/postgresql/*/bin")
    return [path for path in dirs if (path / "initdb").exists() and (path / "postgres").exists()]


def _major(bin_dir: Path) -> int:
    match = re.search(r"postgresql/(\d+)/bin$", str(bin_dir))
    if match:
        return int(match[1])
    answer = subprocess.run(
        [str(bin_dir / "postgres"), "--version"], capture_output=True, text=True, check=False
    )
    match = re.search(r"\) (\d+)", answer.stdout)
    return int(match[1]) if match else 0


def _has_postgis(bin_dir: Path) -> bool:
    match = re.search(r"^(.*)/lib/postgresql/(\d+)/bin$", str(bin_dir))
    if match:
        share = Path(match[1]) / "share/postgresql" / match[2]
    else:
        answer = subprocess.run(
            [str(bin_dir / "pg_config"), "--sharedir"], capture_output=True, text=True, check=False
        )
        share = Path(answer.stdout.strip() or "/nonexistent")
    return (share / "extension/postgis.control").exists()
