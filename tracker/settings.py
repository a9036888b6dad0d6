"""Environment → frozen settings, validated together; the only reader of the environment.

Names start with ``TRACKER_``. A ``TRACKER_*`` name that is not known is refused at start, so a
misspelt limit cannot silently fall back to its default.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Self

from pydantic import Field, ValidationError, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from tracker.errors import SetupError

PREFIX = "TRACKER_"


class Settings(BaseSettings):
    """All settings of every process. Frozen; pass it in, never read it globally."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True, extra="forbid")

    database_url: str = Field(
        "postgresql://tracker@127.0.0.1:5432/tracker",
        description="PostgreSQL connection as a libpq URL.",
    )
    database_pool_size: int = Field(10, ge=1, le=200, description="Connections of one API process.")

    mqtt_host: str = Field("127.0.0.1", description="Host of the broker.")
    mqtt_port: int = Field(1883, ge=1, le=65535, description="Port of the broker.")
    mqtt_username: str | None = Field(None, description="Ingest's own broker user.")
    mqtt_password: str | None = Field(None, description="Password of that user.")
    mqtt_tls_ca: Path | None = Field(None, description="CA certificate; set it to turn TLS on.")
    mqtt_client_id: str = Field("tracker-ingest", description="Prefix of the durable session ids.")
    mqtt_receive_maximum: int = Field(
        8000, ge=1, le=65535, description="Unacknowledged messages the broker may have in flight."
    )

    shards: str = Field("0-63", description="Shards this ingest worker takes, as 0-31 or 1,5,7.")
    shard_lease_s: float = Field(
        6.0, ge=1, le=300, description="Time after which a silent worker's shards go to others, s."
    )
    batch_records: int = Field(2000, ge=1, le=20000, description="Records in one storing batch.")
    batch_ms: int = Field(100, ge=1, le=5000, description="Longest wait for a batch to fill, ms.")
    quarantine_per_device: int = Field(
        10000, ge=1, description="Records kept in quarantine for one device; more are counted."
    )
    quarantine_bytes_per_device: int = Field(
        16 * 1024 * 1024,
        ge=1,
        description="Bytes kept in quarantine for one device; more are counted.",
    )
    ack_records: int = Field(
        32, ge=1, le=1000, description="Records after which a device is acked."
    )
    traccar_topic: str = Field(
        "traccar/positions",
        min_length=1,
        pattern=r"^[^+#\x00-\x1f\x7f]+$",
        description="Topic to which a Traccar server forwards its positions.",
    )
    ack_s: float = Field(120.0, gt=0, description="Longest wait for a device's ack, s.")

    metrics_port: int | None = Field(
        None,
        ge=1,
        le=65535,
        description="Port of this process's own metrics (ingest, evaluate, watch); none: off.",
    )
    metrics_host: str = Field("127.0.0.1", description="Address those metrics are served on.")

    evaluate_batch: int = Field(500, ge=1, le=10000, description="Deliveries judged in one batch.")
    escalate_to: str = Field(
        "monitor,admin",
        description="Roles that alerts are passed on to when their time passes, level by level; "
        "empty: nobody.",
    )
    watch_tick_s: float = Field(1.0, gt=0, le=60, description="Period of the clocks, s.")

    http_host: str = Field("127.0.0.1", description="Address the API listens on.")
    http_port: int = Field(8000, ge=0, le=65535, description="Port the API listens on.")
    secret_key: str = Field(
        "", description="Signs tokens and cookies; at least 32 characters. Needed by the API."
    )
    token_hours: float = Field(12.0, gt=0, le=24 * 31, description="Life of a log-in, h.")
    cookie_secure: bool = Field(False, description="Set the Secure flag on the console's cookie.")

    dead_zone_devices: int = Field(
        3, ge=2, description="Different devices whose silences make a cell a dead zone."
    )
    dead_zone_gaps: int = Field(5, ge=2, description="Silences that make a cell a dead zone.")
    dead_zone_days: int = Field(
        30, ge=1, le=366, description="Days of silences that a layer of dead zones is learnt from."
    )
    retention_days: int = Field(
        0,
        ge=0,
        le=36500,
        description="Age at which stored records leave the database, days; 0: never.",
    )
    archive_dir: Path | None = Field(
        None, description="Where they go, as Parquet files; unset: they are dropped."
    )
    events_days: int = Field(
        90,
        ge=0,
        le=36500,
        description="How long events can be read again (`Last-Event-ID`), days; 0: for ever.",
    )
    idempotency_days: int = Field(
        30,
        ge=0,
        le=36500,
        description="How long an Idempotency-Key is remembered, days; 0: for ever.",
    )
    checkpoint_days: int = Field(
        7,
        ge=0,
        le=36500,
        description="How long after its end a delivery's saved states are kept, days; 0: for ever.",
    )
    quarantine_days: int = Field(
        0,
        ge=0,
        le=36500,
        description="Age at which refused records leave quarantine, cases' excepted, days; 0: "
        "never.",
    )
    scan_file_days: int = Field(
        0,
        ge=0,
        le=36500,
        description="Time after the end of a delivery at which pictures of its scans leave, cases' "
        "excepted, days; 0: never.",
    )

    backdating_days: float = Field(
        30.0,
        gt=0,
        description="How far back an act (release, arrival, notification) may be recorded, days.",
    )
    zone_radius_m: float = Field(
        500.0, gt=0, le=50000, description="Radius of the zone of a post that declares none, m."
    )
    evidence_key: Path | None = Field(
        None, description="File with the Ed25519 key that signs evidence packs (PEM)."
    )
    basemap: Path | None = Field(None, description="A PMTiles file to use as the basemap.")
    log_level: str = Field("info", pattern="^(debug|info|warning|error)$", description="Log level.")

    @model_validator(mode="after")
    def _together(self) -> Self:
        parse_shards(self.shards)
        parse_roles(self.escalate_to)
        if self.secret_key and len(self.secret_key) < 32:
            raise ValueError("secret_key must have at least 32 characters")
        return self


def parse_shards(text: str) -> frozenset[int]:
    """Parse ``0-31`` or ``1,5,7-9`` into shard numbers 0–63.

    Raises:
        ValueError: a part is no number or range, or lies outside 0–63.
    """
    shards: set[int] = set()
    for part in text.split(","):
        first, _, last = part.strip().partition("-")
        try:
            low, high = int(first), int(last or first)
        except ValueError:
            raise ValueError(f"shards: {part!r} is no number or range like 0-31") from None
        if not 0 <= low <= high <= 63:
            raise ValueError(f"shards: {part!r} is not within 0-63")
        shards.update(range(low, high + 1))
    return frozenset(shards)


HANDLERS = ("officer", "monitor", "admin")
"""Roles that may handle alerts."""


def parse_roles(text: str) -> tuple[str, ...]:
    """Parse ``monitor,admin`` into roles that may handle alerts.

    Raises:
        ValueError: a part is no such role.
    """
    roles = tuple(part.strip() for part in text.split(",") if part.strip())
    for role in roles:
        if role not in HANDLERS:
            raise ValueError(f"escalate_to: {role!r} is none of {', '.join(HANDLERS)}")
    return roles


def load_settings(**overrides: object) -> Settings:
    """Read the environment once, refuse unknown names, validate all fields together.

    Raises:
        SetupError: a name is unknown or a value is out of range; the text names each.
    """
    known = {PREFIX + name.upper() for name in Settings.model_fields}
    unknown = sorted(name for name in os.environ if name.startswith(PREFIX) and name not in known)
    if unknown:
        raise SetupError(f"unknown setting {', '.join(unknown)}: see `tracker settings` for all")
    try:
        return Settings(**overrides)  # type: ignore[arg-type]
    except ValidationError as exc:
        lines = [
            f"{PREFIX}{'_'.join(map(str, e['loc'])).upper()}: {e['msg']}" for e in exc.errors()
        ]
        raise SetupError("; ".join(lines)) from exc
