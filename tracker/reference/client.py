"""A small client of the product's own HTTP API, for the loader and the demo."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import TracebackType
from typing import Any, Self

import httpx

from tracker.errors import Conflict, Invalid, SetupError, Unauthenticated

PREFIX = "/api/v1"
#: Above the slowest first answer of a server that shares two cores with its database.
TIMEOUT_S = 30.0
#: The largest page that the contract allows.
PAGE = 1000


class Api:
    """Calls under ``/api/v1`` with a bearer token; refusals become the product's own errors."""

    def __init__(
        self, base_url: str, token: str = "", *, transport: httpx.BaseTransport | None = None
    ) -> None:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._http = httpx.Client(
            # A server on this machine must not be asked through a proxy.
            base_url=base_url.rstrip("/") + PREFIX,
            headers=headers,
            timeout=TIMEOUT_S,
            trust_env=False,
            transport=transport,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._http.close()

    def login(self, username: str, password: str) -> None:
        """Take a token for the calls that follow.

        Raises:
            Unauthenticated: the server does not know this user or password.
        """
        form = {"grant_type": "password", "username": username, "password": password}
        answer = self._call("POST", "/auth/token", data=form)
        self._http.headers["Authorization"] = f"Bearer {answer['access_token']}"

    def create(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """POST a body and return the answer.

        Raises:
            Conflict: it exists already, or does not fit the present state.
            Invalid: the server refuses the body.
        """
        return self._call("POST", path, json=body)

    def get(self, path: str, **params: str | int) -> dict[str, Any]:
        """GET one object or one page."""
        return self._call("GET", path, params=params)

    def every(self, path: str, **params: str | int) -> Iterator[dict[str, Any]]:
        """All items of a list, page by page."""
        cursor: str | None = None
        while True:
            page = self.get(path, limit=PAGE, **params, **({"cursor": cursor} if cursor else {}))
            yield from page["items"]
            cursor = page.get("next")
            if not cursor:
                return

    def _call(self, method: str, path: str, **kwargs: Any) -> dict[str, Any]:
        try:
            answer = self._http.request(method, path, **kwargs)
        except httpx.HTTPError as exc:
            where = self._http.base_url
            raise SetupError(f"no answer from {where}: {exc}; is the server up?") from exc
        if answer.is_success:
            return dict(answer.json()) if answer.content else {}
        raise _refusal(method, path, answer)


def _refusal(method: str, path: str, answer: httpx.Response) -> Exception:
    """The error for a refusing answer, with the server's own words on what is wrong."""
    text = f"{method} {path}: {answer.status_code} {_detail(answer)}"
    match answer.status_code:
        case 401:
            return Unauthenticated(text)
        case 409:
            return Conflict(text)
        case 400 | 422:
            return Invalid(text)
        case _:
            return SetupError(text)


def _detail(answer: httpx.Response) -> str:
    try:
        problem = answer.json()
    except ValueError:
        return answer.text[:200]
    if not isinstance(problem, dict):
        return str(problem)[:200]
    fields = "; ".join(
        f"{'.'.join(map(str, e.get('loc', ())))}: {e.get('msg')}" for e in problem.get("errors", ())
    )
    return fields or str(problem.get("detail") or problem.get("title"))
