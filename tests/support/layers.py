"""The layers of the product and a checker of its imports, by syntax tree alone.

A module imports only from lower layers or from its own family. Put a new module in ``LAYERS``;
where one does not fit, the design is to be changed on purpose, with a decision note.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

PURE = 4
"""Up to this layer nothing knows a database, a broker, the web, the machine, time or chance."""

LAYERS: Mapping[str, int] = {
    "tracker.model": 0,
    "tracker.errors": 0,
    "tracker.geodesy": 1,
    "tracker.clocks": 1,
    "tracker.payload": 1,
    "tracker.received": 1,
    "tracker.trust": 1,
    "tracker.evidence": 1,
    "tracker.adapters": 2,
    "tracker.routes": 2,
    "tracker.deliveries": 2,
    "tracker.norms": 2,
    "tracker.incidents": 2,
    "tracker.retention": 3,
    "tracker.participants": 2,
    "tracker.alerts": 2,
    "tracker.track": 3,
    "tracker.detectors": 3,
    "tracker.anomalies": 3,
    "tracker.changes": 3,
    "tracker.riskblock": 4,
    "tracker.risk": 4,
    "tracker.settings": 5,
    "tracker.logs": 5,
    "maps": 5,
    "tracker.db": 6,
    "tracker.exporter": 6,
    "tracker.storing": 7,
    "tracker.forwarded": 7,
    "tracker.judging": 7,
    "tracker.observing": 7,
    "tracker.surrounding": 7,
    "tracker.tracing": 7,
    "tracker.replaying": 7,
    "tracker.packing": 7,
    "tracker.alerting": 7,
    "tracker.pipeline": 7,
    "tracker.redrive": 7,
    "tracker.archiving": 7,
    "tracker.tidying": 7,
    "tracker.broker": 7,
    "tracker.inbox": 8,
    "tracker.lean_client": 8,
    "tracker.sessions": 8,
    "tracker.drops": 8,
    "tracker.links": 8,
    "tracker.shards": 8,
    "tracker.ingest_mqtt": 8,
    "tracker.evaluate": 8,
    "tracker.watch": 8,
    "tracker.feed": 8,
    "tracker.api": 8,
    "tracker.console": 8,
    "tracker.reference": 8,
    "tracker.embedded": 9,
    "tracker.demo": 10,
    "tracker.terminal": 10,
    "tracker.commands": 11,
    "tracker.cli": 12,
}

FAMILIES: Mapping[str, str] = {
    # The fold over a track, its steps and its detectors: one subject in several files.
    "tracker.track": "anomalies",
    "tracker.detectors": "anomalies",
    "tracker.anomalies": "anomalies",
    "tracker.riskblock": "risk",
    "tracker.risk": "risk",
    # The list of steps, and the steps of each stage.
    "tracker.storing": "pipeline",
    "tracker.forwarded": "pipeline",
    "tracker.judging": "pipeline",
    "tracker.observing": "pipeline",
    "tracker.surrounding": "pipeline",
    "tracker.tracing": "pipeline",
    "tracker.replaying": "pipeline",
    "tracker.packing": "pipeline",
    "tracker.alerting": "pipeline",
    "tracker.pipeline": "pipeline",
    "tracker.redrive": "pipeline",
    # Knows how long traces are compared with each other.
    "tracker.tidying": "pipeline",
    # Sessions with the broker, leases of shards, and the worker that has both.
    "tracker.inbox": "ingest",
    "tracker.lean_client": "ingest",
    "tracker.sessions": "ingest",
    "tracker.drops": "ingest",
    "tracker.links": "ingest",
    "tracker.shards": "ingest",
    "tracker.ingest_mqtt": "ingest",
    # One web application.
    "tracker.api": "web",
    "tracker.console": "web",
}

NEVER: Mapping[str, tuple[str, ...]] = {
    "firmware_sim": ("tracker", "maps"),
    "maps": ("tracker.db", "firmware_sim"),
    "tracker": ("firmware_sim",),
}
"""Package → what no module of it may import, whatever the layer."""

UNCLEAN = frozenset(
    {
        *("alembic", "geoalchemy2", "psycopg", "psycopg_pool", "sqlalchemy"),
        *("fastapi", "httpx", "paho", "requests", "socket", "starlette"),
        *("asyncio", "os", "pydantic_settings", "subprocess", "threading", "time"),
        *("random", "secrets", "uuid"),
    }
)
"""Top-level modules that bring in a driver, the machine, the clock or chance."""

CLOCKS = frozenset({"now", "utcnow", "today"})


@dataclass(frozen=True, slots=True, order=True)
class Breach:
    """One import or call that breaks a rule."""

    module: str
    line: int
    text: str

    def __str__(self) -> str:
        return f"{self.module}:{self.line}: {self.text}"


def breaches(root: Path, packages: tuple[str, ...]) -> list[Breach]:
    """Every breach in the packages under ``root``."""
    modules = {name: path for package in packages for name, path in _modules(root, package)}
    found: list[Breach] = []
    for name, path in modules.items():
        tree = ast.parse(path.read_text(encoding="utf-8"), filename=str(path))
        imports = list(_imports(tree, name, is_package=path.name == "__init__.py"))
        found += _unlisted(name)
        found += [Breach(name, line, text) for line, text in _forbidden(name, imports)]
        layer = layer_of(name)
        if layer is not None and layer <= PURE:
            found += [Breach(name, line, text) for line, text in _impure(tree, imports)]
    return sorted(found)


def layer_of(module: str) -> int | None:
    """The layer of a module: that of its longest listed prefix."""
    key = _key(module)
    return LAYERS[key] if key else None


def _key(module: str) -> str | None:
    parts = module.split(".")
    prefixes = (".".join(parts[:length]) for length in range(len(parts), 0, -1))
    return next((prefix for prefix in prefixes if prefix in LAYERS), None)


def _unlisted(module: str) -> list[Breach]:
    if module == "tracker" or module.split(".")[0] == "firmware_sim" or _key(module):
        return []
    return [Breach(module, 1, "is in no layer: list it in tests/support/layers.py")]


def _forbidden(module: str, imports: list[tuple[int, str]]) -> Iterator[tuple[int, str]]:
    package = module.split(".")[0]
    own_key, own_layer = _key(module), layer_of(module)
    for line, target in imports:
        if any(_within(target, banned) for banned in NEVER.get(package, ())):
            yield line, f"imports {target}: {package} never may"
            continue
        key, layer = _key(target), layer_of(target)
        if own_key is None or own_layer is None or key is None or layer is None:
            continue
        if layer >= own_layer and _family(key) != _family(own_key):
            yield line, f"layer {own_layer} imports {target} of layer {layer}"


def _impure(tree: ast.AST, imports: list[tuple[int, str]]) -> Iterator[tuple[int, str]]:
    for line, target in imports:
        if target.split(".")[0] in UNCLEAN:
            yield line, f"pure, but imports {target}"
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and node.attr in CLOCKS:
            owner = node.value
            name = owner.id if isinstance(owner, ast.Name) else getattr(owner, "attr", "")
            if name in {"datetime", "date"}:
                yield node.lineno, f"pure, but reads the clock by {name}.{node.attr}"


def _family(key: str) -> str:
    return FAMILIES.get(key, key)


def _within(module: str, package: str) -> bool:
    return module == package or module.startswith(package + ".")


def _modules(root: Path, package: str) -> Iterator[tuple[str, Path]]:
    for path in sorted((root / package).rglob("*.py")):
        if "node_modules" in path.parts:
            continue
        parts = path.relative_to(root).with_suffix("").parts
        yield ".".join(parts[:-1] if parts[-1] == "__init__" else parts), path


def _imports(tree: ast.AST, module: str, *, is_package: bool) -> Iterator[tuple[int, str]]:
    """Line and full dotted target of every import, wherever it stands in the module."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parts = module.split(".")
                kept = parts[: len(parts) - node.level + (1 if is_package else 0)]
                base = ".".join([*kept, *([node.module] if node.module else [])])
            yield from ((node.lineno, f"{base}.{alias.name}") for alias in node.names)
