"""The indicators, their families and their expert weights, each with its reason.

A weight is a natural logarithm of a likelihood ratio: how many times as often the indicator is
seen in non-deliveries as in good deliveries (`+0.7` twice, `+1.6` five times, `+3.7` forty
times). They are an expert's starting values; recorded outcomes will move them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from msgspec import Struct

from tracker.model import Severity

Family = Literal["route", "stop", "seal", "communication", "time", "subject", "goods", "documents"]


class Ramp(Struct, frozen=True, kw_only=True):
    """How evidence scales a weight: linear from (``at``, ``low``) to (``full``, ``high``).

    Outside these two values of the fact it is flat. ``full`` may be the smaller one (a battery).
    ``high`` is never below ``low``: graver evidence never weighs less. An absent fact scales by 1.
    """

    fact: str
    at: float
    full: float
    low: float
    high: float

    def factor(self, value: float | None) -> float:
        """The factor for a value of the fact, between ``low`` and ``high``."""
        if value is None:
            return 1.0
        share = (value - self.at) / (self.full - self.at)
        return self.low + (self.high - self.low) * min(1.0, max(0.0, share))


class Indicator(Struct, frozen=True, kw_only=True):
    """A sign of non-delivery, or against it (below 0).

    ``weight``: ln likelihood ratio. ``severity``: the usual one of its anomaly; each step that
    knowledge of a place (dead zone, area jamming) lowers it halves the weight.
    ``closed_factor``: what is left of the weight once the condition is over. ``readings``: factors
    by words of the evidence (`tracker.riskblock.readings`); the greatest counts, none is 1.
    """

    code: str
    family: Family
    weight: float
    why: str
    ru: str
    kk: str
    en: str
    severity: Severity | None = None
    ramp: Ramp | None = None
    closed_factor: float = 1.0
    readings: Mapping[str, float] = {}


class WeightSet(Struct, frozen=True, kw_only=True):
    """A version of all weights. ``base_logit`` is the prior of a delivery with nothing known."""

    version: str
    base_logit: float
    indicators: dict[str, Indicator]

    def of_finding(self, code: str) -> Indicator:
        """The indicator of an anomaly's code; a code without one weighs a little, not nothing."""
        found = self.indicators.get(code)
        return found if found and found.severity else self.indicators["other_finding"]


_ROUTE = (
    Indicator(
        code="route_deviation", family="route", weight=2.6, severity=Severity.HIGH,
        # Over: who comes back drives on to the post, as nearly all who take a detour do, and only
        # about every second diversion.
        why="most diversions leave the corridor; road works and detours do so too, rarely far",
        ramp=Ramp(fact="max_offset_m", at=1_000, full=20_000, low=0.7, high=1.3),
        closed_factor=0.7,
        ru="отклонение от маршрута", kk="маршруттан ауытқу", en="off the declared route",
    ),
    Indicator(
        code="wrong_direction", family="route", weight=1.6, severity=Severity.MEDIUM,
        why="turning back 5 km is seldom needed, missed turns and fuel explain a part; tens of km "
        "are another journey",
        ramp=Ramp(fact="driven_back_m", at=5_000, full=50_000, low=0.8, high=2.0),
        closed_factor=0.6,
        ru="движение в обратную сторону", kk="кері бағытта жүру", en="driving back along the route",
    ),
    Indicator(
        code="checkpoint_missed", family="route", weight=1.2, severity=Severity.MEDIUM,
        why="a by-pass of a control point is used to avoid a look, or a road was closed",
        ru="пропущен обязательный пункт", kk="міндетті бекет өткізіп алынды",
        en="mandatory checkpoint missed",
    ),
    Indicator(
        code="restricted_zone", family="route", weight=1.8, severity=Severity.HIGH,
        why="zones are drawn where goods were unloaded before; transit traffic grazes them",
        ru="въезд в запретную зону", kk="тыйым салынған аймаққа кіру",
        en="entered a restricted zone",
    ),
    Indicator(
        code="border_exit", family="route", weight=4.0, severity=Severity.CRITICAL,
        why="goods that left the territory elsewhere are out of reach: all but the act itself",
        ru="выезд за границу вне заявленного поста", kk="мәлімделген бекеттен тыс шекарадан шығу",
        en="left the territory away from the declared post",
    ),
    Indicator(
        # Of the route, since one false position makes both this and a way off the route.
        code="spoofing_suspected", family="route", weight=2.4, severity=Severity.HIGH,
        why="a false position is deliberate when local; area spoofing and receivers that hang "
        "throw positions about, wheels that stand while the map drives on hide a lorry",
        ramp=Ramp(fact="unturned_pct", at=25, full=90, low=0.7, high=1.5),
        readings={"jump": 0.7, "frozen": 0.7, "path": 1.0, "device": 1.0},
        ru="подозрение на подмену координат", kk="координаттарды алмастыру күдігі",
        en="position suspected to be forged",
    ),
)  # fmt: skip

_STOP = (
    Indicator(
        code="unauthorised_stop", family="stop", weight=1.3, severity=Severity.MEDIUM,
        why="unloading needs a stop, but drivers also eat, sleep and break down",
        ramp=Ramp(fact="duration_s", at=900, full=7_200, low=0.8, high=1.5),
        ru="стоянка в неразрешённом месте", kk="рұқсат етілмеген жерде тоқтау",
        en="stop at a place not allowed",
    ),
    Indicator(
        code="overstay", family="stop", weight=0.4, severity=Severity.LOW,
        why="queues and rest run over; only long ones leave time for unloading",
        ramp=Ramp(fact="duration_s", at=0, full=14_400, low=0.5, high=1.5), closed_factor=0.7,
        ru="стоянка дольше отведённого времени", kk="белгіленген уақыттан артық тұру",
        en="stayed longer than designated",
    ),
    Indicator(
        code="rendezvous", family="stop", weight=2.8, severity=Severity.HIGH,
        why="two vehicles side by side outside any parking is how loads change hands",
        ru="встреча с другим транспортом вне разрешённых мест",
        kk="рұқсат етілген жерден тыс басқа көлікпен кездесу",
        en="met another vehicle outside allowed places",
    ),
    Indicator(
        code="unloading_signature", family="stop", weight=4.0, severity=Severity.CRITICAL,
        why="a stop together with a seal event or silence is what unloading looks like",
        ru="признаки разгрузки в пути", kk="жолда жүк түсіру белгілері",
        en="signs of unloading on the way",
    ),
    Indicator(
        code="arrived_directly", family="stop", weight=-1.0,
        why="goods are not unloaded from a moving lorry: four of five good deliveries show neither "
        "a stop, a way off the road nor a gap; of those not whole about every third hides it",
        ru="прибыло без остановок, отклонений и пробелов, в которые можно разгрузить",
        kk="жүк түсіруге болатын тоқтаусыз, ауытқусыз және үзіліссіз келді",
        en="arrived without a stop, a way off the route or a gap to unload in",
    ),
)  # fmt: skip

_SEAL = (
    Indicator(
        code="seal_cut", family="seal", weight=3.7, severity=Severity.CRITICAL,
        why="the rope is cut to get at the goods; accidents and false contacts are about 1 in 40",
        ru="трос пломбы перерезан", kk="пломба тросы кесілген", en="seal rope cut",
    ),
    Indicator(
        code="seal_body_open", family="seal", weight=3.4, severity=Severity.CRITICAL,
        why="opening the case is tampering or damage; a little more often damage than a cut",
        ru="корпус пломбы вскрыт", kk="пломба корпусы ашылған", en="seal case opened",
    ),
    Indicator(
        code="unauthorised_unlock", family="seal", weight=3.3, severity=Severity.CRITICAL,
        why="an unlock away from an authorised zone; officers' slips explain some. A card or PIN "
        "that was refused has opened nothing, and is often a mix-up",
        readings={"place": 1.0, "card": 1.0, "illegal_card": 0.5, "pins": 0.5},
        # An officer has sealed it again: most were his own openings, a seal changed on the way.
        closed_factor=0.5,
        ru="открытие пломбы вне разрешённого места", kk="рұқсат етілген жерден тыс пломбаны ашу",
        en="seal unlocked at a place not allowed",
    ),
    Indicator(
        code="separation", family="seal", weight=3.1, severity=Severity.CRITICAL,
        # Over: what was carried away seldom comes back; a false position does.
        why="seal and tractor apart means trailer swapped or seal carried away",
        ramp=Ramp(fact="distance_m", at=300, full=5_000, low=0.9, high=1.2), closed_factor=0.6,
        ru="пломба и тягач разошлись", kk="пломба мен тартқыш ажырады",
        en="seal and vehicle apart",
    ),
    Indicator(
        code="seal_state_conflict", family="seal", weight=2.2, severity=Severity.HIGH,
        why="a seal whole again with no reseal was replaced, or its contact is bad",
        ru="состояние пломбы противоречит её истории", kk="пломба күйі оның тарихына қайшы",
        en="seal state contradicts its history",
    ),
    Indicator(
        code="seal_fault", family="seal", weight=0.7, severity=Severity.MEDIUM,
        why="faults are mostly faults; forced locks fail twice as often", closed_factor=0.7,
        ru="неисправность пломбы", kk="пломба ақауы", en="seal fault",
    ),
    Indicator(
        code="stop_unseen_by_seal", family="seal", weight=2.4,
        why="a seal that missed its own vehicle's stop had no sight of the sky or was not there: "
        "half of all unloadings that spare the seal, one honest stop in twenty",
        ru="пломба не видела стоянки своего тягача", kk="пломба өз тартқышының тоқтауын көрмеді",
        en="seal did not see its own vehicle's stop",
    ),
    Indicator(
        code="arrived_whole", family="seal", weight=-1.6,
        why="19 of 20 good deliveries arrive with a seal that was whole and watched all the way; "
        "of those not whole one in five, by other doors or a copied seal",
        ru="прибыло с целой пломбой, бывшей на связи весь путь",
        kk="бүкіл жолда байланыста болған бүтін пломбамен келді",
        en="arrived with a seal whole and watched all the way",
    ),
)  # fmt: skip

_COMMUNICATION = (
    Indicator(
        code="silence", family="communication", weight=1.2, severity=Severity.MEDIUM,
        why="coverage gaps are common on these roads; time to spare inside one is what counts",
        ramp=Ramp(fact="slack_min", at=0, full=60, low=0.6, high=1.8),
        ru="нет сообщений", kk="хабарламалар жоқ", en="no messages",
    ),
    Indicator(
        code="all_silent", family="communication", weight=3.6,
        why="no dead zone lasts six hours, and a parked device still reports: what is left is two "
        "failures at once, or devices destroyed; a single one fails more often",
        ramp=Ramp(fact="devices", at=1, full=2, low=0.6, high=1.0),
        ru="ни одно устройство не выходит на связь более 6 часов",
        kk="бірде-бір құрылғы 6 сағаттан астам байланысқа шықпайды",
        en="no device heard of for over 6 hours",
    ),
    Indicator(
        code="jamming", family="communication", weight=2.2, severity=Severity.HIGH,
        why="jammers are carried to hide a detour; military and area jamming happen too",
        ramp=Ramp(fact="duration_s", at=180, full=3_600, low=0.8, high=1.3),
        ru="глушение навигационного сигнала", kk="навигациялық сигналды бәсеңдету",
        en="satellite signal jammed",
    ),
    Indicator(
        code="identity_conflict", family="communication", weight=2.6, severity=Severity.CRITICAL,
        why="a copied device is how a lorry stays on the map; repair mix-ups are the rest",
        ru="две записи под одним устройством", kk="бір құрылғы атынан екі жазба",
        en="two sources under one device",
    ),
    Indicator(
        code="power_cut", family="communication", weight=0.9, severity=Severity.MEDIUM,
        why="pulling the plug precedes tampering; battery isolators are used at rest",
        closed_factor=0.7,
        ru="внешнее питание отключено", kk="сыртқы қуат ажыратылды", en="external power cut",
    ),
    Indicator(
        code="battery_low", family="communication", weight=0.6, severity=Severity.LOW,
        why="a badly charged seal goes blind; mostly neglect",
        ramp=Ramp(fact="lowest_pct", at=15, full=5, low=0.8, high=1.5), closed_factor=0.5,
        ru="низкий заряд батареи", kk="батарея заряды төмен", en="battery low",
    ),
    Indicator(
        code="sequence_gap", family="communication", weight=0.4, severity=Severity.LOW,
        why="records lost for good: usually an old store, sometimes one that was wiped",
        ru="пропали записи устройства", kk="құрылғы жазбалары жоғалған",
        en="device records missing",
    ),
    Indicator(
        code="clock_fault", family="communication", weight=0.3, severity=Severity.LOW,
        why="a clock gone wrong is nearly always a fault", closed_factor=0.5,
        ru="сбой часов устройства", kk="құрылғы сағатының ақауы", en="device clock at fault",
    ),
)  # fmt: skip

_TIME = (
    Indicator(
        code="late_risk", family="time", weight=0.6, severity=Severity.MEDIUM,
        why="late starts and queues are common; non-deliveries begin as delays", closed_factor=0.3,
        ru="срок под угрозой", kk="мерзім қаупі бар", en="deadline at risk",
    ),
    Indicator(
        code="overdue", family="time", weight=1.9, severity=Severity.HIGH,
        why="every non-delivery is overdue, and about one good delivery in seven is",
        ramp=Ramp(fact="duration_s", at=0, full=86_400, low=0.8, high=1.4), closed_factor=0.3,
        ru="срок доставки истёк", kk="жеткізу мерзімі өтті", en="deadline passed",
    ),
    Indicator(
        code="non_arrival", family="time", weight=3.9, severity=Severity.CRITICAL,
        why="a day past the deadline and asked for: most of the good ones have come by then",
        closed_factor=0.3,
        ru="не прибыло в пост назначения", kk="межелі бекетке келмеді",
        en="not arrived at the destination post",
    ),
)  # fmt: skip

_DOCUMENTS = (
    Indicator(
        code="arrival_mismatch", family="documents", weight=2.7, severity=Severity.HIGH,
        why="an arrival on paper without the vehicle at the post is fictitious; that the seal was "
        "broken counts by itself, here only that it was not told",
        readings={
            "zone_not_entered": 1.6, "elsewhere": 1.6, "seal_unknown": 1.0, "seal_state": 1.0,
            "seal_hidden": 0.6, "seal_tried": 0.2, "seal_told": 0.2,
        },
        ru="прибытие не подтверждается телеметрией", kk="келу телеметриямен расталмайды",
        en="arrival contradicted by telemetry",
    ),
    Indicator(
        code="hs_code_incomplete", family="documents", weight=0.3,
        why="goods described by a short code are harder to check; mostly haste",
        ru="код товара неполный", kk="тауар коды толық емес", en="goods code incomplete",
    ),
)  # fmt: skip

_SUBJECT = (
    Indicator(
        code="base_rate", family="subject", weight=0.0,
        why="the weight is the base logit of the set: non-deliveries among all deliveries",
        ru="средний уровень недоставок", kk="жеткізілмеудің орташа деңгейі",
        en="national rate of non-delivery",
    ),
    Indicator(
        code="carrier_low", family="subject", weight=-1.0,
        why="checked operators and large taxpayers have much to lose: about a third of the rate",
        ru="перевозчик низкой категории риска", kk="тәуекел санаты төмен тасымалдаушы",
        en="carrier of the low risk category",
    ),
    Indicator(
        code="carrier_high", family="subject", weight=1.2,
        why="debts, violations or no record: about three times the rate",
        ru="перевозчик высокой категории риска", kk="тәуекел санаты жоғары тасымалдаушы",
        en="carrier of the high risk category",
    ),
    Indicator(
        code="declarant_low", family="subject", weight=-0.7,
        why="as the carrier's, weaker: the declarant does not hold the goods on the way",
        ru="декларант низкой категории риска", kk="тәуекел санаты төмен декларант",
        en="declarant of the low risk category",
    ),
    Indicator(
        code="declarant_high", family="subject", weight=0.8,
        why="as the carrier's, weaker: the declarant does not hold the goods on the way",
        ru="декларант высокой категории риска", kk="тәуекел санаты жоғары декларант",
        en="declarant of the high risk category",
    ),
)  # fmt: skip

_GOODS = (
    Indicator(
        code="goods_excisable", family="goods", weight=0.5,
        why="tobacco, alcohol and fuel sell at once without papers",
        ru="подакцизный товар", kk="акцизделетін тауар", en="excisable goods",
    ),
    Indicator(
        code="goods_licensed", family="goods", weight=0.4,
        why="goods under licence or dual use have buyers who can't import them lawfully",
        ru="товар под лицензией или двойного назначения",
        kk="лицензияланатын немесе қосарлы мақсаттағы тауар", en="licensed or dual-use goods",
    ),
    Indicator(
        code="goods_consumer", family="goods", weight=0.3,
        why="clothes, shoes and electronics go straight to bazaars",
        ru="ходовой потребительский товар", kk="сұранысы жоғары тұтыну тауары",
        en="consumer goods in demand",
    ),
)  # fmt: skip

_OTHER = Indicator(
    code="other_finding", family="route", weight=0.5, severity=Severity.MEDIUM,
    why="a finding that has no weight of its own yet still says that something is odd",
    ru="иная аномалия", kk="басқа ауытқу", en="other anomaly",
)  # fmt: skip

_ALL = (
    *_ROUTE, *_STOP, *_SEAL, *_COMMUNICATION, *_TIME, *_DOCUMENTS, *_SUBJECT, *_GOODS, _OTHER
)  # fmt: skip

EXPERT = WeightSet(
    version="expert-2",
    # One delivery in 200: no published national figure exists; the order of magnitude is that of
    # transit movements that end in an enquiry which finds no goods.
    base_logit=-5.293304824724492,
    indicators={i.code: i for i in _ALL},
)
"""The expert's starting weights."""
