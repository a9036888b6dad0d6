"""What the reading calls answer, for OpenAPI: anomalies, alerts, risk, positions, quarantine."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

SeverityName = Literal["info", "low", "medium", "high", "critical"]
AnomalyStatus = Literal["open", "closed", "retracted"]
AlertStatusName = Literal["open", "acknowledged", "resolved", "retracted"]
FindingName = Literal["confirmed", "explained", "false", "technical"]
LevelName = Literal["low", "medium", "high"]
Text = Annotated[str, Field(max_length=4000, pattern=r"^[^\x00]*$")]

_ID = "5f0c5f0e-6a2b-4d57-9f0e-0a4b1f7f9d10"
_ANOMALY_ID = "0e7a9f1e-6f0a-4c8f-8a58-0f2d3f5f7a11"

ANOMALY_EXAMPLE: dict[str, Any] = {
    "id": _ANOMALY_ID,
    "delivery_id": _ID,
    "device_id": "SEAL-0001",
    "code": "seal_cut",
    "eaeu_code": "01",
    "severity": "critical",
    "basis": "data",
    "status": "open",
    "provisional": False,
    "start": "2026-03-01T09:12:44.120Z",
    "end": None,
    "geometry": {"type": "Point", "coordinates": [76.8897, 43.2389]},
    "evidence": {"rope": "cut"},
    "found_at": "2026-03-01T09:12:45.003Z",
    "found_by": {"device": "SEAL-0001", "gen": 0, "seq": 1042},
    "settings_version": "1",
    "rules_version": "2",
}
ALERT_EXAMPLE: dict[str, Any] = {
    "id": "b8d5a7f2-0f63-4b43-9e8b-6d8f1c1b2a12",
    "delivery_id": _ID,
    "code": "seal_cut",
    "status": "open",
    "severity": "critical",
    "rank": 1,
    "raised_at": "2026-03-01T09:12:45.003Z",
    "due_at": "2026-03-01T09:17:45.003Z",
    "count": 1,
    "assignee": None,
    "anomaly_ids": [_ANOMALY_ID],
    "finding": None,
    "history": [{"at": "2026-03-01T09:12:45.003Z", "who": "system", "what": "raised", "text": ""}],
}
RISK_EXAMPLE: dict[str, Any] = {
    "delivery_id": _ID,
    "at": "2026-03-01T09:12:45.003Z",
    "probability": 0.169,
    "expected_loss_kzt": 1_014_000,
    "level": "high",
    "rank": 1,
    "corridor": "red",
    "profiles": ["KZ-ND-01", "KZ-ND-03"],
    "measures": ["call_driver", "dispatch_mobile_group", "full_inspection", "weigh"],
    "consequence_kzt": 6_000_000,
    "weights_version": "expert-2",
    "reasons": [
        {
            "indicator": "seal_cut",
            "family": "seal",
            "weight": 3.7,
            "contribution": 3.7,
            "anomaly_id": _ANOMALY_ID,
            "text": "seal rope cut",
        }
    ],
}
POSITION_EXAMPLE: dict[str, Any] = {
    "delivery_id": _ID,
    "registration_number": "KZ-2026-000123",
    "device_id": "GPS-0001",
    "kind": "gps",
    "t": "2026-03-01T09:12:44.000Z",
    "lon": 76.8897,
    "lat": 43.2389,
    "speed_kmh": 62.3,
    "heading_deg": 271.0,
    "moving": True,
    "progress_m": 123_456.0,
    "distance_m": 4.2,
    "level": "low",
    "open_alerts": 0,
}


class FoundByOut(BaseModel):
    """The record that made a finding."""

    device: str
    gen: int
    seq: int


class AnomalyOut(BaseModel):
    """What the data shows: an episode with its evidence."""

    model_config = ConfigDict(json_schema_extra={"examples": [ANOMALY_EXAMPLE]})

    id: UUID
    delivery_id: UUID
    device_id: str | None
    code: str
    eaeu_code: str | None = Field(description="Emergency code of the EAEU agreement, 01-07.")
    severity: SeverityName
    basis: Literal["data", "fleet", "clock"]
    status: AnomalyStatus
    provisional: bool
    start: datetime
    end: datetime | None
    geometry: dict[str, Any] | None = Field(description="GeoJSON.")
    evidence: dict[str, Any]
    found_at: datetime
    found_by: FoundByOut | None
    settings_version: str
    rules_version: str


class AnomalyPage(BaseModel):
    """A page of anomalies."""

    items: list[AnomalyOut]
    next: str | None


class HistoryLineOut(BaseModel):
    """A line of an alert's history."""

    at: datetime
    who: str
    what: str
    text: str


class AlertOut(BaseModel):
    """What a person handles."""

    model_config = ConfigDict(json_schema_extra={"examples": [ALERT_EXAMPLE]})

    id: UUID
    delivery_id: UUID
    code: str
    status: AlertStatusName
    severity: SeverityName
    rank: int | None = Field(description="1: most at stake; none once finished, or for carriers.")
    raised_at: datetime
    due_at: datetime
    count: int
    assignee: str | None
    anomaly_ids: list[UUID]
    finding: FindingName | None
    escalation: int = Field(0, description="How often its time has passed without an end.")
    escalated_at: datetime | None = None
    escalated_to: str | None = Field(None, description="The role whose it is since then.")
    history: list[HistoryLineOut]


class AlertPage(BaseModel):
    """A page of alerts."""

    items: list[AlertOut]
    next: str | None


class AssigneeOut(BaseModel):
    """Somebody whom an alert can be assigned to."""

    username: str
    role: str
    posts: list[str]
    unresolved: int = Field(description="Alerts assigned to them that have no end yet.")


class AssigneePage(BaseModel):
    """Everybody whom an alert can be assigned to."""

    items: list[AssigneeOut]
    next: str | None


class AckIn(BaseModel):
    """Words to go with an acknowledgement; may be left out."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"text": "looking"}]})

    text: Text = ""


class ResolveIn(BaseModel):
    """How an alert ends."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"examples": [{"finding": "explained", "text": "road works at km 112"}]},
    )

    finding: FindingName
    text: Text = ""


class CommentIn(BaseModel):
    """Words for the history."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"text": "driver called, on his way"}]}
    )

    text: Text = Field(min_length=1)


class AssignIn(BaseModel):
    """Who is to handle an alert."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"assignee": "dana", "text": ""}]}
    )

    assignee: Text = Field(min_length=1, description="Username.")
    text: Text = ""


class ReasonOut(BaseModel):
    """One summand of the logit of the probability. A carrier gets the text alone."""

    indicator: str | None = None
    family: str | None = None
    weight: float | None = None
    contribution: float | None = None
    anomaly_id: UUID | None = None
    text: str


class RiskOut(BaseModel):
    """The newest assessment. A carrier gets the reasons in plain words and no figures."""

    model_config = ConfigDict(json_schema_extra={"examples": [RISK_EXAMPLE]})

    delivery_id: UUID
    at: datetime
    probability: float | None = Field(None, description="Of non-delivery, between 0 and 1.")
    expected_loss_kzt: int | None = Field(None, description="Probability x consequence.")
    level: LevelName | None = None
    rank: int | None = Field(None, description="Among active deliveries; 1: most at stake.")
    corridor: Literal["green", "blue", "yellow", "red"] | None = None
    profiles: list[str] | None = None
    measures: list[str] | None = None
    consequence_kzt: int | None = None
    weights_version: str | None = None
    reasons: list[ReasonOut]


class TimelineItem(BaseModel):
    """One thing that happened."""

    at: datetime
    kind: Literal["act", "anomaly", "alert"]
    what: str
    text: str | None
    who: str | None
    ref: str
    recorded_at: datetime
    code: str | None
    severity: SeverityName | None
    until: datetime | None


class Timeline(BaseModel):
    """Everything that happened to a delivery, in order."""

    items: list[TimelineItem]
    next: str | None


class PositionOut(BaseModel):
    """The newest position of a device on a delivery."""

    model_config = ConfigDict(json_schema_extra={"examples": [POSITION_EXAMPLE]})

    delivery_id: UUID
    registration_number: str
    device_id: str
    kind: Literal["seal", "gps"]
    t: datetime
    lon: float
    lat: float
    speed_kmh: float | None
    heading_deg: float | None
    moving: bool | None
    progress_m: float | None
    distance_m: float | None
    level: LevelName | None
    open_alerts: int


class Positions(BaseModel):
    """The newest positions of all devices in scope."""

    items: list[PositionOut]
    next: str | None


class QuarantineOut(BaseModel):
    """What was refused, raw."""

    id: int
    received_at: datetime
    topic: str
    device_id: str | None
    reason: str
    detail: str
    gen: int | None
    seq: int | None
    size_bytes: int
    message_id: int | None = Field(
        None, description="The signed message it is a part of, if that is kept apart."
    )
    payload_base64: str
    text: str | None = Field(description="The payload as text, where it is UTF-8.")


class QuarantineDetail(QuarantineOut):
    """What was refused, with the signed message it came in."""

    message_base64: str | None = Field(
        description="That message as it came, its trailer included; null: the payload is whole."
    )


class QuarantineCountOut(BaseModel):
    """What a sender has in quarantine, and what its bounds kept out: counted, not kept."""

    device_id: str = Field(description="`(unknown)`: all senders that are not registered.")
    kept: int
    kept_bytes: int
    over_limit: int
    over_limit_bytes: int


class QuarantineCountPage(BaseModel):
    """A page of senders."""

    items: list[QuarantineCountOut]
    next: str | None


class RedriveIn(BaseModel):
    """Which rows go through the storing stage again; what is left out matches any."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"examples": [{"device": "GPS-0001", "reason": ["unknown_device"]}]},
    )

    ids: list[Annotated[int, Field(ge=1, lt=2**63)]] | None = Field(None, max_length=1000)
    device: Annotated[str, Field(max_length=200, pattern=r"^[^\x00]*$")] | None = None
    reason: list[Annotated[str, Field(max_length=200, pattern=r"^[^\x00]*$")]] | None = Field(
        None, max_length=50
    )
    since: AwareDatetime | None = None
    limit: int = Field(
        10_000, ge=1, le=100_000, description="Rows to look at in this call, or a few more."
    )
    after: int = Field(0, ge=0, lt=2**63, description="`next` of the call before.")


class RedriveOut(BaseModel):
    """What a re-drive did."""

    looked_at: int = Field(description="Rows.")
    stored: int = Field(description="Records that are in telemetry now.")
    removed: int = Field(description="Rows that left quarantine: stored, or already there.")
    kept: dict[str, int] = Field(description="What is refused still, by reason.")
    next: int | None = Field(description="Where to go on, if the limit was reached; else null.")


class QuarantinePage(BaseModel):
    """A page of refused records."""

    items: list[QuarantineOut]
    next: str | None
