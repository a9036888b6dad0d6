"""The API on a database that can only be read: it reads, and says that it is not ready."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest

from tests.support.api import ApiWorld, problem_of
from tests.support.services import create_database, start_postgres
from tests.support.waiting import wait_until
from tracker.db.migrate import upgrade


@pytest.fixture
def standby(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiWorld]:
    """On a server that was a primary when the API came up, and is a standby now."""
    home = tmp_path_factory.mktemp("standby")
    server = start_postgres(home)
    try:
        dsn = create_database(server, "reading")
        upgrade(dsn)
        world = ApiWorld(dsn)
        world.token()
        server.stop()
        (home / "postgres" / "data" / "standby.signal").touch()
        server.start(server.port)
        yield world
        world.close()
    finally:
        server.stop()


@pytest.fixture
def set_so(database: str) -> Iterator[ApiWorld]:
    """On a server whose database was set to be only read."""
    world = ApiWorld(database)
    world.token()
    sessions = "FROM pg_stat_activity WHERE application_name = 'tracker-api'"
    sessions += " AND datname = current_database()"
    with psycopg.connect(database, autocommit=True) as conn:
        name = conn.info.dbname
        conn.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
        conn.execute(f"SELECT pg_terminate_backend(pid) {sessions}")
        wait_until(
            lambda: conn.execute(f"SELECT count(*) {sessions}").fetchone() == (0,),
            10,
            "the API's sessions to be ended",
        )
    yield world
    world.close()


@pytest.mark.parametrize("which", ["standby", "set_so"])
def test_a_database_that_can_only_be_read_is_not_ready(
    which: str, request: pytest.FixtureRequest
) -> None:
    world: ApiWorld = request.getfixturevalue(which)
    assert world.get("/posts")["items"] == []

    ready = world.http.get("/readyz")
    assert ready.status_code == 503
    checks = ready.json()["checks"]
    assert checks["database"]["ok"] is False
    assert "only be read" in checks["database"]["detail"]
    assert checks["migrations"]["ok"] is True

    headers = {"Authorization": f"Bearer {world.token()}"}
    # On the connection that was read on just now, and as the first on one: neither may write.
    for _ in range(2):
        made = world.http.post(
            "/api/v1/devices", json={"id": "GPS-1", "kind": "gps"}, headers=headers
        )
        assert problem_of(made, 503)["type"] == "/problems/unavailable"
        world.app.state.tracker.database.close()
    followed = world.http.get("/api/v1/stream", headers=headers)
    assert problem_of(followed, 503)["type"] == "/problems/unavailable"
