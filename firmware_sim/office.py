"""The customs office's desk: calls of the HTTP API, as any other system makes them."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from typing import Any, Self

import httpx

from firmware_sim.errors import OfficeError

_PREFIX = "/api/v1"
# Above the slowest first answer of a server that shares two cores with its database.
_TIMEOUT_S = 60.0
_PAGE = 1000
# A server that is being restarted, or has too much to do, is asked again.
_PAUSES_S = (0.2, 1.0, 3.0)
_AGAIN = frozenset({502, 503, 504})


class Refusal(Exception):
    """The server understood and said no. `status` is HTTP's."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


class Office:
    """A client with one log-in. Safe to use from several threads."""

    def __init__(self, url: str, *, transport: httpx.BaseTransport | None = None) -> None:
        """`url`: the server's, without a path. OfficeError if it is no address."""
        try:
            self._http = httpx.Client(
                # A server on this machine must not be asked through a proxy.
                base_url=url.rstrip("/") + _PREFIX,
                timeout=_TIMEOUT_S,
                trust_env=False,
                transport=transport,
            )
        except (httpx.InvalidURL, httpx.UnsupportedProtocol) as error:
            raise OfficeError(f"--http {url}: {error}; give http://HOST:PORT") from error
        self._url = url
        self._login: tuple[str, str] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    def login(self, username: str, password: str) -> None:
        """Take a token. OfficeError if the server is not there or knows no such user."""
        form = {"grant_type": "password", "username": username, "password": password}
        try:
            answer = self.call("POST", "/auth/token", data=form)
        except Refusal as refusal:
            raise OfficeError(
                f"{self._url} refuses {username}: {refusal}; check --user and --password"
            ) from refusal
        self._login = username, password
        self._http.headers["Authorization"] = f"Bearer {answer['access_token']}"

    def create(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """POST a body and return the answer. Refusal if the server will not."""
        return self.call("POST", path, json=body)

    def get(self, path: str, **params: str | int) -> dict[str, Any]:
        """GET one object or one page."""
        return self.call("GET", path, params=params)

    def every(self, path: str, **params: str | int) -> Iterator[dict[str, Any]]:
        """All items of a list, page by page."""
        cursor: str | None = None
        while True:
            more = {"cursor": cursor} if cursor else {}
            page = self.get(path, limit=_PAGE, **params, **more)
            yield from page["items"]
            cursor = page.get("next")
            if not cursor:
                return

    def call(self, method: str, path: str, **kwargs: Any) -> dict[str, Any]:
        """One call, repeated if the server is away for a moment."""
        for pause_s in (*_PAUSES_S, None):
            answer = self._ask(method, path, pause_s is None, **kwargs)
            if answer is not None and (pause_s is None or answer.status_code not in _AGAIN):
                return self._read(method, path, answer, **kwargs)
            time.sleep(pause_s or 0.0)
        raise AssertionError("the last round returns or raises")

    def _ask(self, method: str, path: str, last: bool, **kwargs: Any) -> httpx.Response | None:
        try:
            return self._http.request(method, path, **kwargs)
        except httpx.HTTPError as error:
            if last or (self._login is None and isinstance(error, httpx.ConnectError)):
                raise OfficeError(
                    f"no answer from {self._url} ({error}); start the server or give --http"
                ) from error
            return None

    def _read(
        self, method: str, path: str, answer: httpx.Response, **kwargs: Any
    ) -> dict[str, Any]:
        if answer.is_success:
            try:
                return dict(answer.json()) if answer.content else {}
            except ValueError as error:
                raise OfficeError(
                    f"{self._url} does not speak the API's language; give --http as http://HOST:PORT"
                ) from error
        if answer.status_code == 401 and self._login is not None:
            # The token has come of age in a long run.
            login, self._login = self._login, None
            self.login(*login)
            return self.call(method, path, **kwargs)
        raise Refusal(answer.status_code, f"{answer.status_code} {_detail(answer)}")


def _detail(answer: httpx.Response) -> str:
    try:
        problem = answer.json()
    except ValueError:
        return " ".join(answer.text[:200].split())
    if not isinstance(problem, dict):
        return str(problem)[:200]
    fields = "; ".join(
        f"{'.'.join(map(str, e.get('loc', ())))}: {e.get('msg')}" for e in problem.get("errors", ())
    )
    return fields or str(problem.get("detail") or problem.get("title"))
