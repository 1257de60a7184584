"""A gateway's cosignatures, over real HTTP, and its handling of a witness that contradicts it."""

import http.client
import logging
import socket
import sqlite3
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from gateway.config.optional_sections import WitnessSettings
from gateway.cosigning.cosignatures import CosignatureStore
from gateway.cosigning.updates import (
    Contradiction,
    WitnessUnreachable,
    WitnessUpdater,
    post,
    submit,
)
from sealgate.reasons import Reason
from sealgate.settings import ConfigError
from sealgate.trust.transparency.checkpoint import WitnessKey, cosignatures
from tests.support.builders.documents.people import ANSWER_LOG, key, refused
from tests.support.fakes.growing_log import GrowingLog
from tests.support.harness.servers.witness_server import serving_witness

LOGS = {ANSWER_LOG: GrowingLog().vkey}


@pytest.fixture
def witness(tmp_path: Path) -> Iterator[WitnessSettings]:
    with serving_witness(tmp_path / "witness.db", LOGS) as settings:
        yield settings


def memory(folder: Path, *settings: WitnessSettings) -> CosignatureStore:
    return CosignatureStore.open(folder / "seen.json", [s.witness for s in settings])


def test_cosignatures_are_kept_and_served(tmp_path: Path, witness: WitnessSettings) -> None:
    log, kept = GrowingLog("a", "b"), memory(tmp_path, witness)
    submit(log, witness, kept)
    assert cosignatures(kept.best(ANSWER_LOG), [witness.witness])
    assert kept.with_lines(ANSWER_LOG, log.checkpoint()) == kept.best(ANSWER_LOG)
    before = kept.best(ANSWER_LOG)
    log.grow("c")
    # The newer checkpoint is not cosigned yet.
    assert kept.with_lines(ANSWER_LOG, log.checkpoint()) == log.checkpoint()
    assert memory(tmp_path, witness).best(ANSWER_LOG) == before
    submit(log, witness, kept)
    assert kept.best(ANSWER_LOG).startswith(log.checkpoint())


def test_the_lines_of_all_who_saw_the_same(tmp_path: Path, witness: WitnessSettings) -> None:
    with serving_witness(tmp_path / "2.db", LOGS, "second.example", "second") as second:
        log, kept = GrowingLog("a", "b"), memory(tmp_path, witness, second)
        for settings in (witness, second):
            submit(log, settings, kept)
        keys = [witness.witness, second.witness]
        assert len(cosignatures(kept.best(ANSWER_LOG), keys)) == 2
        log.grow("c")
        submit(log, second, kept)
        assert [c.witness for c in cosignatures(kept.best(ANSWER_LOG), keys)] == ["second.example"]


def test_a_gateway_that_forgot_goes_on(tmp_path: Path, witness: WitnessSettings) -> None:
    log = GrowingLog("a", "b")
    submit(log, witness, memory(tmp_path, witness))
    log.grow("c")
    (tmp_path / "seen-witnessed.json").unlink()
    again = memory(tmp_path, witness)
    submit(log, witness, again)
    assert again.best(ANSWER_LOG).startswith(log.checkpoint())


@pytest.mark.parametrize("leaves", [("a",), ("a", "X"), ("a", "X", "c")])
@pytest.mark.parametrize("forgot", [False, True])
def test_a_log_that_went_back_or_forked(
    tmp_path: Path, witness: WitnessSettings, leaves: tuple[str, ...], forgot: bool
) -> None:
    kept = memory(tmp_path, witness)
    submit(GrowingLog("a", "b"), witness, kept)
    if forgot:
        (tmp_path / "seen-witnessed.json").unlink()
        kept = memory(tmp_path, witness)
    with pytest.raises(Contradiction):
        submit(GrowingLog(*leaves), witness, kept)


def test_a_contradiction_halts_for_good(tmp_path: Path, witness: WitnessSettings) -> None:
    kept, halted = memory(tmp_path, witness), dict[str, str]()
    submit(GrowingLog("a", "b"), witness, kept)
    fork = GrowingLog("a", "X", "c")
    WitnessUpdater([witness], [fork], kept, halted.__setitem__, 60).feed(witness)
    assert Reason.LOG_INCONSISTENT.name in halted[ANSWER_LOG]
    # A restart finds it again.
    again = dict[str, str]()
    WitnessUpdater([witness], [fork], memory(tmp_path, witness), again.__setitem__, 60)
    assert ANSWER_LOG in again


def test_an_advisory_witness_only_alarms(
    tmp_path: Path, witness: WitnessSettings, caplog: pytest.LogCaptureFixture
) -> None:
    advisory = WitnessSettings(witness.url, witness.key, advisory=True)
    kept, halted = memory(tmp_path, witness), dict[str, str]()
    submit(GrowingLog("a", "b"), witness, kept)
    WitnessUpdater([advisory], [GrowingLog("a", "X", "c")], kept, halted.__setitem__, 60).feed(
        advisory
    )
    assert halted == {}
    assert kept.conflict(ANSWER_LOG) == ""
    assert advisory.witness.name in kept.disagreement(ANSWER_LOG)
    WitnessUpdater([advisory], [GrowingLog("a", "b", "c")], kept, halted.__setitem__, 60).feed(
        advisory
    )
    assert kept.disagreement(ANSWER_LOG) == ""
    assert [r for r in caplog.records if r.levelno == logging.CRITICAL]


def test_a_witness_that_is_away_only_alarms(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    away = WitnessSettings("http://127.0.0.1:9", WitnessKey.of("w", key("w").public).vkey)
    with pytest.raises(WitnessUnreachable):
        post(away, b"")
    halted = dict[str, str]()
    kept = memory(tmp_path, away)
    WitnessUpdater([away], [GrowingLog("a")], kept, halted.__setitem__, 60).feed(away)
    assert halted == {}
    assert [r for r in caplog.records if r.levelno == logging.ERROR]


@pytest.mark.parametrize("signer", ["answer-log", "mallory"])
def test_a_witness_that_does_not_know_us(tmp_path: Path, signer: str) -> None:
    logs = LOGS if signer == "mallory" else {}
    with serving_witness(tmp_path / "witness.db", logs) as settings:
        log = GrowingLog("a", signer=signer)
        with refused(Reason.WITNESS_REFUSED):
            submit(log, settings, memory(tmp_path, settings))


def test_an_answer_by_another_key(tmp_path: Path, witness: WitnessSettings) -> None:
    other = WitnessKey.of("witness.example", key("mallory").public).vkey
    settings = WitnessSettings(witness.url, other)
    kept = memory(tmp_path, settings)
    with refused(Reason.WITNESS_REFUSED):
        submit(GrowingLog("a"), settings, kept)
    assert kept.best(ANSWER_LOG) == ""


@pytest.mark.parametrize(
    ("method", "path", "headers", "status"),
    [
        ("POST", "/other", {"content-length": "0"}, 404),
        ("POST", "/add-checkpoint", {}, 411),
        ("POST", "/add-checkpoint", {"content-length": "99999999"}, 413),
        ("POST", "/add-checkpoint", {"content-length": "-1"}, 411),
        ("GET", "/add-checkpoint", {}, 501),
    ],
)
def test_the_server_is_strict(
    witness: WitnessSettings, method: str, path: str, headers: dict[str, str], status: int
) -> None:
    connection = http.client.HTTPConnection(urlsplit(witness.url).netloc, timeout=60)
    connection.putrequest(method, path)
    for name, value in headers.items():
        connection.putheader(name, value)
    connection.endheaders()
    assert connection.getresponse().status == status
    connection.close()


@pytest.mark.parametrize(
    ("begins", "goes_on"),
    [
        (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
        (b"HTTP/1.1 200 OK\r\n", b"x"),
        (b"HTTP/1.1 200 OK\r\n\r\n", b"x"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 99999\r\n\r\n", b"x"),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n", b"1\r\nx\r\n"),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n", b"a: b\r\n"),
    ],
)
def test_a_witness_that_drips_is_away(begins: bytes, goes_on: bytes) -> None:
    """Each byte comes in time; all together do not."""
    with dripping(begins, goes_on) as address:
        settings = WitnessSettings(address, WitnessKey.of("w", key("w").public).vkey)
        with ThreadPoolExecutor(1) as thread, pytest.raises(WitnessUnreachable):
            thread.submit(post, settings, b"", 0.5).result(60)


def test_a_huge_answer_is_no_answer() -> None:
    with dripping(b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * (1 << 17), b"") as address:
        settings = WitnessSettings(address, WitnessKey.of("w", key("w").public).vkey)
        with pytest.raises(WitnessUnreachable, match="too large"):
            post(settings, b"", 60)


@contextmanager
def dripping(begins: bytes, goes_on: bytes) -> Iterator[str]:
    """A server that answers with one text and goes on with another, until nobody listens."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        with suppress(OSError), listener.accept()[0] as connection:
            connection.recv(1 << 16)
            connection.sendall(begins)
            while not stopped.wait(0.01):
                connection.sendall(goes_on)

    stopped = threading.Event()
    serving = threading.Thread(target=serve)
    serving.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        stopped.set()
        listener.close()
        serving.join()


def test_a_witness_that_has_forgotten_is_alarmed_and_fed_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    log = GrowingLog("a", "b", "c")
    with serving_witness(tmp_path / "witness.db", LOGS) as settings:
        kept = memory(tmp_path, settings)
        submit(log, settings, kept)
        port = urlsplit(settings.url).port or 0
    assert not caplog.records
    log.grow("d")
    with serving_witness(tmp_path / "another.db", LOGS, port=port) as settings:
        submit(log, settings, kept)
    assert "has forgotten that it cosigned 3 entries" in caplog.text
    assert kept.best(ANSWER_LOG).startswith(log.checkpoint())


def test_a_conflict_that_cannot_be_kept_halts_all_the_same(
    tmp_path: Path, witness: WitnessSettings
) -> None:
    folder = tmp_path / "gone"
    folder.mkdir()
    kept, halted = memory(folder, witness), dict[str, str]()
    submit(GrowingLog("a", "b"), witness, kept)
    (folder / "seen-witnessed.json").unlink()
    folder.rmdir()
    fork, other = GrowingLog("a", "X", "c"), GrowingLog("a", signer="mallory")
    WitnessUpdater([witness], [fork, other], kept, halted.__setitem__, 60).feed(witness)
    assert ANSWER_LOG in halted


def test_a_witness_whose_disk_fails_cosigns_nothing_and_says_so(
    tmp_path: Path, witness: WitnessSettings, caplog: pytest.LogCaptureFixture
) -> None:
    with sqlite3.connect(tmp_path / "witness.db") as other:
        other.execute("DROP TABLE cosigned")
    with refused(Reason.WITNESS_REFUSED) as told:
        submit(GrowingLog("a"), witness, memory(tmp_path, witness))
    assert told.value.detail == "500 'INTERNAL\\n'"
    assert "nothing is cosigned" in caplog.text


@pytest.mark.parametrize(
    "url",
    ["http://witness.example", "ftp://127.0.0.1", "https://a@b", "https://", "x", "https://b?c"],
)
def test_only_https_or_this_machine(url: str) -> None:
    with pytest.raises(ConfigError):
        WitnessSettings(url, WitnessKey.of("w", key("w").public).vkey)
