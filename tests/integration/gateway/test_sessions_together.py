"""Places that gateways share sessions in: a real Redis and a real PostgreSQL."""

import signal
import threading
import time

import pytest
from redis import Redis

from gateway.sessions.postgres_store import PostgresStore
from gateway.sessions.redis_store import RedisStore
from gateway.sessions.session_rows import LONGEST_ROW, REMEMBERED, START
from sealgate.reasons import Reason, SealgateError
from tests.support.builders.documents.people import refused
from tests.support.harness.servers.postgres import PostgresServer
from tests.support.harness.servers.redis_server import RedisServer

SERVERS = {
    "redis": (RedisServer, RedisStore),
    "postgresql": (PostgresServer, PostgresStore),
}


@pytest.fixture(scope="module", params=SERVERS)
def server(request):
    server = SERVERS[request.param][0]()
    yield server
    server.close()


@pytest.fixture(scope="module")
def stores(server):
    """Two gateways' stores of one place."""
    kind = next(kind for served, kind in SERVERS.values() if isinstance(server, served))
    pair = kind(server.url, 3600), kind(server.url, 3600)
    yield pair
    for store in pair:
        store.close()  # type: ignore[attr-defined]


@pytest.fixture(scope="module")
def redis():
    server = RedisServer()
    yield server
    server.close()


@pytest.fixture(scope="module")
def postgres():
    server = PostgresServer()
    yield server
    server.close()


def first_exchange(store, session, row):
    """Return the store's first exchange once its server answers again."""
    deadline = time.monotonic() + 60
    while True:
        try:
            return store.exchange(session, [row], START)
        except SealgateError:
            assert time.monotonic() < deadline
            time.sleep(0.05)


def test_each_reads_all_rows_in_one_order_and_none_twice(stores):
    one, other = stores
    first, here = one.exchange("order", [b"a"], START)
    both, there = other.exchange("order", [b"b", b"c"], START)
    rest, here = one.exchange("order", [b"d"], here)
    assert (first, both, rest) == ([b"a"], [b"a", b"b", b"c"], [b"b", b"c", b"d"])
    assert other.exchange("order", [], there)[0] == [b"d"]
    assert one.exchange("order", [], here) == ([], here)
    assert one.exchange("another", [], START) == ([], START)


def test_what_is_read_is_bounded(stores):
    rows = [b"%d" % number for number in range(REMEMBERED + 10)]
    stores[0].exchange("long", rows, START)
    assert stores[1].exchange("long", [], START)[0] == rows[10:]


def test_rows_that_come_at_once_are_all_read(stores):
    """No row appears behind a cursor that has passed it."""
    seen = [[], []]

    def run(number):
        cursor = START
        for turn in range(50):
            found, cursor = stores[number].exchange("race", [b"%d/%d" % (number, turn)], cursor)
            seen[number] += found
        seen[number].append(cursor)

    threads = [threading.Thread(target=run, args=(number,)) for number in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for number in (0, 1):
        seen[number] += stores[number].exchange("race", [], seen[number].pop())[0]
    assert seen[0] == seen[1]
    assert len(seen[0]) == 100


def test_a_place_that_lost_its_rows_is_read_from_its_beginning(server, stores):
    """Otherwise a gateway would see no row, not even its own, until numbers or the clock of the
    place pass its cursor. After a crash PostgreSQL empties the table and counts from 1.
    """
    one, other = stores
    first_exchange(other, "crash", b"elsewhere")
    for number in range(10):
        cursor = one.exchange("crash", [b"%d" % number], START)[1]
    if isinstance(server, PostgresServer):
        server.stop(signal.SIGQUIT)
    else:
        server.stop()
        # As of a server whose clock was ahead.
        cursor = f"9{cursor}"
    server.start()
    _, there = first_exchange(other, "crash", b"a")
    found, cursor = one.exchange("crash", [b"b"], cursor)
    assert found == [b"a", b"b"]
    assert other.exchange("crash", [], there)[0] == [b"b"]
    assert one.exchange("crash", [b"c"], cursor)[0] == [b"c"]


def test_a_cursor_whose_row_was_trimmed_reads_all_rows(stores):
    _, cursor = stores[0].exchange("trimmed", [b"first"], START)
    rows = [b"%d" % number for number in range(REMEMBERED + 10)]
    stores[0].exchange("trimmed", rows, START)
    assert stores[0].exchange("trimmed", [], cursor)[0] == rows[10:]


def test_a_table_that_is_gone_is_made_again(postgres):
    store = PostgresStore(postgres.url, 3600)
    _, cursor = store.exchange("any", [b"a"], START)
    postgres.psql("DROP SCHEMA sessions CASCADE")
    with refused(Reason.SESSION_UNKNOWN):
        store.exchange("any", [b"b"], cursor)
    assert store.exchange("any", [b"c"], cursor)[0] == [b"c"]
    store.close()


def test_old_rows_are_removed_however_many_there_are(postgres):
    store = PostgresStore(postgres.schema_url("old"), 60)
    store.exchange("any", [b"a"], START)
    store.close()
    postgres.psql(
        "INSERT INTO old.rows (session, made, data)"
        " SELECT 'gone', now() - interval '1 hour', 'x' FROM generate_series(1, 25000)"
    )
    store = PostgresStore(postgres.schema_url("old"), 60)
    for _ in range(3):
        store.exchange("any", [], START)
    store.close()
    assert postgres.psql("SELECT DISTINCT session FROM old.rows").split() == ["any"]


def test_a_place_that_hangs_holds_no_thread(postgres):
    """Not even `statement_timeout` ends a statement of a server that does not run."""
    store = PostgresStore(postgres.schema_url("hangs"), 60)
    store.exchange("any", [b"a"], START)
    postgres.pause()
    try:
        began = time.monotonic()
        for number in range(50):
            with refused(Reason.SESSION_UNKNOWN):
                store.exchange(f"session {number}", [b"a"], START)
        assert time.monotonic() - began < 30
    finally:
        postgres.resume()
    assert first_exchange(store, "any", b"b")[0][-1] == b"b"
    store.close()


def test_rows_that_no_gateway_can_have_written_are_not_read(postgres, redis):
    long = "x" * (LONGEST_ROW + 1)
    ours = PostgresStore(postgres.schema_url("long"), 60)
    # A busy machine may make the table more slowly than a request waits.
    first_exchange(ours, "another", b"a")
    ours.exchange("any", [b"a"], START)
    size = f"repeat('x', {LONGEST_ROW + 1})::bytea"
    postgres.psql("INSERT INTO long.rows (session, data) SELECT 'any', " + size)
    assert ours.exchange("any", [], START)[0] == [b"a", b""]
    ours.close()
    ours = RedisStore(redis.url, 60)
    client = Redis.from_url(redis.url.replace("redis+unix", "unix"))
    for name, entry in {"long": {"row": long}, "other": {"other": "a"}}.items():
        client.xadd(f"sealgate:session:{name}", entry)
        with refused(Reason.SESSION_UNKNOWN):
            ours.exchange(name, [b"a"], START)
    client.set("sealgate:session:text", "a")
    with refused(Reason.SESSION_UNKNOWN):
        ours.exchange("text", [b"a"], START)
    # That is no failure of the place: other sessions go on.
    assert ours.exchange("fine", [b"a"], START)[0] == [b"a"]
    client.close()
    ours.close()


@pytest.mark.parametrize(
    "store",
    [
        RedisStore("redis://127.0.0.1:1", 60),
        PostgresStore("postgresql://nobody@127.0.0.1:1/none", 60),
    ],
    ids=["redis", "postgresql"],
)
def test_a_place_that_does_not_answer_refuses(store):
    with refused(Reason.SESSION_UNKNOWN):
        store.exchange("any", [b"a"], START)
