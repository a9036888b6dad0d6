"""Frozen value types that every layer shares. Imports nothing of the product.

Instants inside the detection path are ``t_ms``: whole milliseconds since 1970-01-01 UTC, as the
wire has them; at the edges (API, database, reports) they are aware datetimes. Structs are
``msgspec`` ones: as quick as tuples, and their states can be stored and read back as they are.
"""

from __future__ import annotations

from datetime import UTC, datetime
from enum import IntFlag, StrEnum
from typing import Annotated, Any, Literal

from msgspec import Meta, Struct

# ---------------------------------------------------------------- time


def from_ms(t_ms: int) -> datetime:
    """Milliseconds since the epoch → aware datetime in UTC, exact to the millisecond."""
    return datetime.fromtimestamp(t_ms // 1000, UTC).replace(microsecond=t_ms % 1000 * 1000)


def to_ms(at: datetime) -> int:
    """Aware datetime → whole milliseconds since the epoch (floor).

    Raises:
        ValueError: ``at`` has no time zone, so its instant is not known.
    """
    if at.tzinfo is None:
        raise ValueError("a datetime without a time zone has no instant")
    delta = at - datetime(1970, 1, 1, tzinfo=UTC)
    return (delta.days * 86400 + delta.seconds) * 1000 + delta.microseconds // 1000


# ---------------------------------------------------------------- the wire (contract mqtt.md)

Lat = Annotated[float, Meta(ge=-90, le=90)]
Lon = Annotated[float, Meta(ge=-180, le=180)]
NonNegative = Annotated[float, Meta(ge=0)]
Percent = Annotated[float, Meta(ge=0, le=100)]


class WireFix(Struct, frozen=True, kw_only=True):
    """The ``fix`` of a record as sent. All is optional: real devices leave anything out."""

    t: int | None = None
    ok: bool | None = None
    lat: Lat | None = None
    lon: Lon | None = None
    alt: float | None = None
    spd: NonNegative | None = None
    hdg: Annotated[float, Meta(ge=0, le=360)] | None = None
    hdop: NonNegative | None = None
    sat: Annotated[int, Meta(ge=0)] | None = None
    acc: NonNegative | None = None
    src: str | None = None
    jam: Annotated[int, Meta(ge=0, le=2)] | None = None
    spoof: Annotated[int, Meta(ge=0, le=1)] | bool | None = None


class WireMotion(Struct, frozen=True, kw_only=True):
    """The ``mot`` of a record: ignition, movement, odometer in metres."""

    ign: bool | None = None
    mov: bool | None = None
    odo: NonNegative | None = None


class WirePower(Struct, frozen=True, kw_only=True):
    """The ``pwr`` of a record: external supply in mV, battery in percent."""

    ext: NonNegative | None = None
    bat: Percent | None = None
    chg: bool | None = None


class WireSeal(Struct, frozen=True, kw_only=True):
    """The ``seal`` of a record. Words that a later firmware adds are kept, not refused."""

    armed: bool | None = None
    lock: str | None = None
    rope: str | None = None
    case: str | None = None
    temp: float | None = None


class WireEvent(Struct, frozen=True, kw_only=True):
    """The ``evt`` of a record: code and the device's own time of it, ms."""

    code: str
    at: int | None = None
    auth: str | None = None
    card: str | None = None
    n: int | None = None


FORWARDED_GEN = 2**32
"""``gen`` of records that adapters make: just outside what a device of ours can have."""


class Record(Struct, frozen=True, kw_only=True):
    """One record as decoded. ``(device, gen, seq)`` is its identity."""

    v: int
    gen: Annotated[int, Meta(ge=0, le=2**32 - 1)]
    seq: Annotated[int, Meta(ge=1, le=2**63 - 1)]
    ts: int
    tq: str | None = None
    hist: bool | None = None
    why: str | None = None
    fix: WireFix | None = None
    mot: WireMotion | None = None
    pwr: WirePower | None = None
    seal: WireSeal | None = None
    sleep_s: NonNegative | None = None
    evt: WireEvent | None = None


class TimeFlag(IntFlag):
    """Bits that say how a record's time t* was found, whose words its body is in, and what is
    wrong with the device's own clock (``CLOCK_…``: `tracker.clocks.faults_of`)."""

    FROM_FIX = 1
    FROM_TS = 2
    ROLLOVER_CORRECTED = 4
    IMPLAUSIBLE = 8
    OWNTRACKS = 16
    TRACCAR = 32
    CLOCK_RESET = 64
    CLOCK_ROLLOVER = 128
    CLOCK_FUTURE = 256
    CLOCK_PAST = 512
    CLOCK_LOCAL_TIME = 1024
    CLOCK_OFF = 2048


# ---------------------------------------------------------------- geography of a delivery


class ZoneKind(StrEnum):
    """Kinds of zones (contract http.md)."""

    POST = "post"
    BORDER = "border"
    PARKING = "parking"
    REST = "rest"
    FUEL = "fuel"
    TERMINAL = "terminal"
    RESTRICTED = "restricted"
    TERRITORY = "territory"


STOP_ZONES = frozenset(
    {
        ZoneKind.POST,
        ZoneKind.BORDER,
        ZoneKind.PARKING,
        ZoneKind.REST,
        ZoneKind.FUEL,
        ZoneKind.TERMINAL,
    }
)
"""Zones in which a stop needs no explanation (contract detection.md, ``unauthorised_stop``)."""


class ZoneHit(Struct, frozen=True, kw_only=True):
    """A zone that contains a fix at the fix's time."""

    code: str
    kind: str
    max_dwell_s: float | None = None


class ProgressCandidate(Struct, frozen=True, array_like=True):
    """A local nearest place on the declared route.

    ``progress_m`` from the route's start; ``distance_m`` geodesic; ``half_width_m`` of its leg.
    """

    progress_m: float
    distance_m: float
    half_width_m: float


class FixFacts(Struct, frozen=True, kw_only=True):
    """A candidate fix with what PostGIS found out about it.

    ``acc_m``: reported accuracy, else 5 m x HDOP, else 15 m. ``distance_m``: to the whole declared
    route. ``candidates``: the places on the route that may be meant, nearest first. ``zones``:
    those that contain it; ``crossed``: those that it is not in, but that the straight way from the
    valid fix before touches. ``route``: which of the delivery's declared routes is meant, from
    0. ``home``: it lies in a territory zone; ``abroad``: there are such zones, and it lies in none.
    """

    fix_ms: int
    lon: float
    lat: float
    acc_m: float
    distance_m: float
    candidates: tuple[ProgressCandidate, ...] = ()
    zones: tuple[ZoneHit, ...] = ()
    speed_kmh: float | None = None
    heading_deg: float | None = None
    crossed: tuple[ZoneHit, ...] = ()
    home: bool = False
    abroad: bool = False
    route: int = 0


class Observation(Struct, frozen=True, kw_only=True):
    """One record of a bound device as the detectors see it, at its time t*.

    ``fix`` is there only if the record carries a usable position; whether it is a *valid fix*
    (detection.md) is decided in order, by `tracker.track`. ``timed`` is false for a seal event
    without a time of its own, which takes its neighbour's and says nothing of anything else.
    ``no_fix``: the device says that it has none (``ok`` false). ``ts_ms``: what its clock showed;
    ``flags``: bits of `TimeFlag`. ``auth``, ``card``, ``count``: of the event.
    """

    device: str
    kind: Literal["seal", "gps"]
    gen: int
    seq: int
    t_ms: int
    timed: bool = True
    moving: bool | None = None
    sleep_s: float = 0.0
    battery_pct: float | None = None
    external_mv: float | None = None
    odometer_m: float | None = None
    rope: str | None = None
    case: str | None = None
    lock: str | None = None
    event: str | None = None
    jam: int | None = None
    fix: FixFacts | None = None
    no_fix: bool = False
    spoof: bool | None = None
    armed: bool | None = None
    ignition: bool | None = None
    auth: str | None = None
    card: str | None = None
    count: int | None = None
    ts_ms: int | None = None
    flags: int = 0


class Place(Struct, frozen=True, kw_only=True):
    """Where a valid fix lies on the declared route, chosen so that progress is continuous."""

    progress_m: float
    distance_m: float
    half_width_m: float


class Step(Struct, frozen=True, kw_only=True):
    """An observation whose fix has been decided: ``valid`` says so, ``place`` is its progress.

    ``here``: (lon, lat) of the device's newest valid fix, this one included; None: none yet.
    ``previous``: the valid fix before this one. ``jumped``: it was decided as part of a jump, so
    what is valid may be out of reach of the fix before it.
    """

    observation: Observation
    valid: bool
    place: Place | None = None
    here: tuple[float, float] | None = None
    previous: FixFacts | None = None
    jumped: bool = False


class Visit(Struct, frozen=True, kw_only=True):
    """When a device's track first and last touched a zone, t*."""

    first_ms: int
    last_ms: int


class SealNow(Struct, frozen=True, kw_only=True):
    """What a seal last said of itself, part by part; None: never stated."""

    rope: str | None = None
    case: str | None = None
    lock: str | None = None
    armed: bool | None = None
    t_ms: int | None = None


class Newest(Struct, frozen=True, kw_only=True):
    """A device's newest valid fix with its place on the route: what the live map shows."""

    t_ms: int
    fix: FixFacts
    place: Place | None
    moving: bool | None


# ---------------------------------------------------------------- findings


class Severity(StrEnum):
    """Severity of an anomaly or alert."""

    INFO = "info"
    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"
    CRITICAL = "critical"

    @property
    def order(self) -> int:
        """0 for info … 4 for critical; strings do not sort by gravity."""
        return list(Severity).index(self)


class Basis(StrEnum):
    """What an anomaly depends on besides the declared plan (detection.md)."""

    DATA = "data"
    FLEET = "fleet"
    CLOCK = "clock"


class FoundBy(Struct, frozen=True, kw_only=True):
    """The record that made the finding."""

    device: str
    gen: int
    seq: int


class Finding(Struct, frozen=True, kw_only=True):
    """An anomaly as a detector states it: an episode with its evidence.

    ``end_ms`` is None while the data ends inside the episode. ``decided_ms`` is the t* of the
    record after which, in order, nothing can change the finding; None while it is open.
    ``geometry`` is GeoJSON.
    """

    code: str
    device: str | None
    severity: Severity
    basis: Basis
    start_ms: int
    end_ms: int | None = None
    provisional: bool = False
    geometry: dict[str, Any] | None = None
    evidence: dict[str, Any] = {}
    found_by: FoundBy | None = None
    decided_ms: int | None = None


# ---------------------------------------------------------------- what people did


class ActKind(StrEnum):
    """Recorded acts of people, each with its ``at``."""

    BORDER_CROSSING = "border_crossing"
    RELEASE = "release"
    ARRIVAL_NOTICE = "arrival_notice"
    ARRIVAL = "arrival"
    RESEAL = "reseal"
    INCIDENT = "incident"
    ENQUIRY = "enquiry"
    ENQUIRY_RESULT = "enquiry_result"
    CLOSE = "close"
    CANCEL = "cancel"
    CONTROL = "control"
    SCAN = "scan"
    TRANSSHIPMENT = "transshipment"
    REROUTE = "reroute"


class Act(Struct, frozen=True, kw_only=True):
    """A recorded act: what, when it happened (not when it was entered), and its data."""

    kind: ActKind
    t_ms: int
    data: dict[str, Any] = {}


class Periods(Struct, frozen=True, kw_only=True):
    """Reporting periods in force for a device, in seconds."""

    moving_s: float
    parked_s: float


class BoundDevice(Struct, frozen=True, kw_only=True):
    """A device bound to a delivery: from release until arrival (None: still bound), both included:
    a record made at that very moment is the delivery's."""

    id: str
    kind: Literal["seal", "gps"]
    periods: Periods
    from_ms: int
    to_ms: int | None = None


class PlanPost(Struct, frozen=True, kw_only=True):
    """A post of the plan. ``zone``: the code of its zone; ``kind``: border, inland …"""

    code: str
    kind: str
    zone: str
    lon: float
    lat: float


class Checkpoint(Struct, frozen=True, kw_only=True):
    """A place to be passed. ``progress_m``: how far along the route its zone is left behind.

    ``from_ms``, ``to_ms``: while this version of its zone is in force; None: without a bound.
    """

    zone: str
    progress_m: float
    mandatory: bool = True
    from_ms: int | None = None
    to_ms: int | None = None

    def in_force(self, t_ms: int) -> bool:
        """Whether its zone is there at a time."""
        if self.from_ms is not None and t_ms < self.from_ms:
            return False
        return self.to_ms is None or t_ms < self.to_ms


class DeclaredRoute(Struct, frozen=True, kw_only=True):
    """A declared route of a delivery, in force from a time on (the first: from the beginning)."""

    route_id: int
    length_m: float
    from_ms: int | None = None
    checkpoints: tuple[Checkpoint, ...] = ()


class DeliveryPlan(Struct, frozen=True, kw_only=True):
    """What detection needs to know of a delivery besides its telemetry.

    ``routes``: in the order in which they came into force; at least one in any real plan.
    ``direction``: import, transit or export.
    """

    id: str
    deadline_ms: int
    released_ms: int | None
    arrived_ms: int | None
    devices: tuple[BoundDevice, ...]
    acts: tuple[Act, ...] = ()
    cancelled: bool = False
    direction: str = "import"
    departure: PlanPost | None = None
    destination: PlanPost | None = None
    routes: tuple[DeclaredRoute, ...] = ()

    def route_at(self, t_ms: int) -> int:
        """Which of the declared routes is in force at a time: its place in ``routes``."""
        for i in range(len(self.routes) - 1, 0, -1):
            from_ms = self.routes[i].from_ms
            if from_ms is None or from_ms <= t_ms:
                return i
        return 0


# ---------------------------------------------------------------- a device's identity


class Refusal(Struct, frozen=True, kw_only=True):
    """Messages in a device's name that were refused for their sender, or as a second body of one
    identity: those of one reason that were received within some minutes.

    ``first_ms``, ``last_ms``: when they were received. ``from_ms``, ``to_ms``: the times by which
    they belong to a delivery: t* of the stored record where the identity has one, else the time of
    reception. ``quarantine_ids``, ``topics``, ``identities`` (gen, seq): the first few.
    """

    device: str
    reason: str
    first_ms: int
    last_ms: int
    count: int
    from_ms: int
    to_ms: int
    topics: tuple[str, ...] = ()
    quarantine_ids: tuple[int, ...] = ()
    identities: tuple[tuple[int, int], ...] = ()


class OtherBinding(Struct, frozen=True, kw_only=True):
    """A device bound to another delivery (its id), from a time on; ``to_ms`` None: still."""

    device: str
    delivery: str
    from_ms: int
    to_ms: int | None = None


# ---------------------------------------------------------------- what surrounds a delivery


class Hole(Struct, frozen=True, kw_only=True):
    """Numbers of a device that have not been received although a higher one has.

    ``seqs``: first and last of them; ``missing``: how many. ``higher_received_ms``: when the first
    higher one came; ``before_ms``, ``after_ms``: t* of their neighbours, where those have one.
    ``final``: below what the device still holds, so they will never come.
    """

    device: str
    gen: int
    seqs: tuple[int, int]
    missing: int
    higher_received_ms: int
    before_ms: int | None = None
    after_ms: int | None = None
    final: bool = False


class Trace(Struct, frozen=True, kw_only=True):
    """What a delivery left behind for others to be compared with: a stop, or jamming.

    ``delivery``: its id. ``kind``: "stop" or "jam". ``to_ms`` None: it lasts. ``cell``: H3.
    ``data``: ``gen`` and ``seq`` of the record that made it; of a stop also ``last_ms``, up to when
    records show the vehicle there.
    """

    delivery: str
    device: str
    kind: str
    from_ms: int
    to_ms: int | None
    lon: float
    lat: float
    cell: str | None = None
    data: dict[str, Any] = {}


class DeadCell(Struct, frozen=True, kw_only=True):
    """An H3 cell in which many devices fall silent and come back, as known on a day."""

    cell: str
    layer_date: str
    devices: int
    gaps: int


class LaneHistory(Struct, frozen=True, kw_only=True):
    """How deliveries between the same two posts have gone: speed from release to arrival along the
    declared route, stops and queues included; the median of the last ``deliveries``."""

    deliveries: int
    median_kmh: float


class Around(Struct, frozen=True, kw_only=True):
    """What is known of a delivery besides its own records, acts and plan.

    ``own``: the traces it has left. ``others``: those of other deliveries near them in place and
    time. ``dead``: cells of the layer in force when a silence of its began, by cell and day (as in
    `tracker.detectors.layers.dead_key`). ``lane``: how others have gone.
    """

    refusals: tuple[Refusal, ...] = ()
    bindings: tuple[OtherBinding, ...] = ()
    holes: tuple[Hole, ...] = ()
    own: tuple[Trace, ...] = ()
    others: tuple[Trace, ...] = ()
    dead: dict[str, DeadCell] = {}
    lane: LaneHistory | None = None
