"""What a device understands on `cmd`: bytes → a decision the device carries out."""

from __future__ import annotations

import dataclasses
import json
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from firmware_sim import wire
from firmware_sim.store import Ack, parse_ack
from firmware_sim.triggers import Periods, Trigger

if TYPE_CHECKING:
    from firmware_sim.device import DeviceConfig

# QoS 1 may deliver a command twice; so many answers are remembered to repeat them.
_REMEMBERED = 64
_PERIOD_FIELDS = frozenset(field.name for field in dataclasses.fields(Periods))
_MAX_U32 = 2**32 - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What to do: take a gen, change periods, set the clock, move the lock, make a record, reply.

    `set_clock_ms`: what the device's clock is to show now. `rsp`: the reply's JSON.
    """

    gen: int | None = None
    periods: Callable[[Periods], Periods] | None = None
    set_clock_ms: int | None = None
    lock: str | None = None
    record: Trigger | None = None
    rsp: Mapping[str, Any] | None = None


class RefusedError(Exception):
    """The command is not carried out; the text is the `err` of the reply."""


class Commands:
    """Reads commands of one device and remembers the ids it has answered."""

    def __init__(self, config: DeviceConfig, topic: str) -> None:
        self._config, self._topic = config, topic
        self._answered: OrderedDict[str, Mapping[str, Any]] = OrderedDict()

    def read(self, clock_ms: int, payload: bytes) -> Ack | Answer | None:
        """The decision; None for what is malformed or unknown and carries no id to answer."""
        fields = _parse(payload)
        if fields is None:
            return None
        if fields.get("op") == "ack":
            return parse_ack(fields)
        if fields.get("op") == "gen":
            return _gen(fields)
        command_id = fields.get("id")
        if not isinstance(command_id, str | int) or isinstance(command_id, bool):
            return None
        return self._numbered(clock_ms, fields, command_id, payload)

    def _numbered(
        self, clock_ms: int, fields: Mapping[str, Any], command_id: str | int, payload: bytes
    ) -> Answer:
        name = str(command_id)
        if name in self._answered:
            return Answer(rsp=self._answered[name])
        try:
            self._check(clock_ms, fields, payload)
            answer = _OPERATIONS.get(str(fields.get("op")), _unknown)(fields, self._config)
            rsp: dict[str, Any] = {"id": command_id, "ok": True}
        except RefusedError as refused:
            answer, rsp = Answer(), {"id": command_id, "ok": False, "err": str(refused)}
        self._answered[name] = rsp
        while len(self._answered) > _REMEMBERED:
            self._answered.popitem(last=False)
        return dataclasses.replace(answer, rsp=rsp)

    def _check(self, clock_ms: int, fields: Mapping[str, Any], payload: bytes) -> None:
        key = self._config.key
        if key is not None and not wire.verified(key, self._topic, payload):
            raise RefusedError("mac")
        exp = fields.get("exp")
        if exp is not None and (not _number(exp) or clock_ms > exp):
            raise RefusedError("expired")


def _parse(payload: bytes) -> dict[str, Any] | None:
    body, _ = wire.split_trailer(payload)
    try:
        fields = json.loads(body)
    except ValueError:
        return None
    return fields if isinstance(fields, dict) else None


def _gen(fields: Mapping[str, Any]) -> Answer | None:
    gen = fields.get("gen")
    if not isinstance(gen, int) or isinstance(gen, bool) or not 0 <= gen <= _MAX_U32:
        return None
    return Answer(gen=gen)


def _number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _config(fields: Mapping[str, Any], _: DeviceConfig) -> Answer:
    changes = {name: value for name, value in fields.items() if name in _PERIOD_FIELDS}
    if not changes or not all(_limit(name, value) for name, value in changes.items()):
        raise RefusedError("bad_value")
    return Answer(periods=lambda periods: dataclasses.replace(periods, **changes))


def _limit(name: str, value: object) -> bool:
    # null turns off a limit that may be off; the two periods are always needed.
    if value is None:
        return name not in ("moving_s", "parked_s")
    return _number(value) and value > 0  # type: ignore[operator]


def _time(fields: Mapping[str, Any], _: DeviceConfig) -> Answer:
    ts = fields.get("ts")
    if not _number(ts):
        raise RefusedError("bad_value")
    return Answer(set_clock_ms=int(ts), record=Trigger(why="evt", code="clock_set"))  # type: ignore[arg-type]


def _poll(_fields: Mapping[str, Any], _: DeviceConfig) -> Answer:
    return Answer(record=Trigger(why="poll"))


def _lock(lock: str, code: str) -> Callable[[Mapping[str, Any], DeviceConfig], Answer]:
    def carry_out(_: Mapping[str, Any], config: DeviceConfig) -> Answer:
        if config.kind != "seal":
            raise RefusedError("not_a_seal")
        event = Trigger(why="evt", code=code, extra=(("auth", "remote"),))
        return Answer(lock=lock, record=event)

    return carry_out


def _unknown(_fields: Mapping[str, Any], _: DeviceConfig) -> Answer:
    raise RefusedError("unknown_op")


_OPERATIONS: Mapping[str, Callable[[Mapping[str, Any], DeviceConfig], Answer]] = {
    "config": _config,
    "time": _time,
    "poll": _poll,
    "seal": _lock("locked", "sealed"),
    "unseal": _lock("open", "unsealed"),
}
