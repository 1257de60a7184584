"""Places that gateways share sessions in: a real Redis and a real PostgreSQL."""

import threading

import pytest

from gateway.sessions.evidence import REMEMBERED
from gateway.sessions.postgres_store import PostgresStore
from gateway.sessions.redis_store import RedisStore
from gateway.sessions.store import START
from sealgate.reasons import Reason
from tests.support.people import refused
from tests.support.postgres import PostgresServer
from tests.support.redis_server import RedisServer

SERVERS = {
    "redis": (RedisServer, RedisStore),
    "postgresql": (PostgresServer, PostgresStore),
}


@pytest.fixture(scope="module", params=SERVERS)
def stores(request):
    """Two gateways' stores of one place."""
    server_kind, store_kind = SERVERS[request.param]
    server = server_kind()
    pair = store_kind(server.url, 3600), store_kind(server.url, 3600)
    yield pair
    for store in pair:
        store.close()
    server.close()


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
