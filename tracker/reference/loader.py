"""Loads the reference data into any server over its API. A second run changes nothing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import httpx

from tracker.errors import Conflict
from tracker.reference.client import Api
from tracker.reference.files import RESOURCES, Resource, read_bodies

#: Called after each body with the resource, how many of it are done, and how many there are.
OnProgress = Callable[[Resource, int, int], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """What a load did: how many of each resource were created, and were there already."""

    created: Mapping[str, int]
    present: Mapping[str, int]


def load_reference(
    base_url: str,
    token: str,
    *,
    on_progress: OnProgress | None = None,
    transport: httpx.BaseTransport | None = None,
) -> Counts:
    """Post zones, posts, routes and demo participants that the server does not have yet.

    Safe to repeat and to resume after a crash: what exists is left as it is.

    Args:
        base_url: of the server, without ``/api/v1``.
        token: a bearer token of an ``admin``.
        on_progress: see ``OnProgress``.
        transport: for tests.

    Raises:
        SetupError: the server can't be reached or fails.
        Unauthenticated, Invalid: it refuses the token or a body.
    """
    with Api(base_url, token, transport=transport) as api:
        return load_with(api, on_progress=on_progress)


def load_with(api: Api, *, on_progress: OnProgress | None = None) -> Counts:
    """As ``load_reference``, through a client that is logged in already."""
    created: Counter[str] = Counter()
    present: Counter[str] = Counter()
    for resource in RESOURCES:
        bodies = read_bodies(resource)
        known = {_key(resource, item) for item in api.every(f"/{resource}")}
        for done, body in enumerate(bodies, start=1):
            new = _key(resource, body) not in known and _create(api, resource, body)
            (created if new else present)[resource] += 1
            if on_progress:
                on_progress(resource, done, len(bodies))
    return Counts(created=dict(created), present=dict(present))


def _key(resource: Resource, body: Mapping[str, Any]) -> str:
    """What makes two bodies the same thing. Participants have no code of their own choosing."""
    return str(body["tax_id"] if resource == "participants" else body["code"])


def _create(api: Api, resource: Resource, body: Mapping[str, Any]) -> bool:
    """Whether it was new. Another loader may have been quicker: a conflict is no fault."""
    try:
        api.create(f"/{resource}", body)
    except Conflict:
        return False
    return True
