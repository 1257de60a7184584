"""The process's own log: one object a line, or lines that nobody's text can end."""

import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest

from sealgate.process_log import REQUESTS, LogSettings, RequestIds, configure, current_request
from sealgate.settings import ConfigError

NASTY = 'a\nb\r\x1b[2J"\u2028é'


@pytest.fixture(autouse=True)
def logging_as_it_was() -> Iterator[None]:
    """Restore the process's logging so that other tests do not see the change."""
    root, requests = logging.getLogger(), logging.getLogger(REQUESTS)
    before = root.handlers[:], root.level, requests.level
    yield
    root.handlers[:] = before[0]
    root.setLevel(before[1])
    requests.setLevel(before[2])
    current_request.set(None)


def lines(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in capsys.readouterr().err.splitlines()]


def test_an_object_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    configure(LogSettings("json"))
    logging.getLogger("gateway.sync").info("%s is here", NASTY)
    (line,) = lines(capsys)
    assert line.pop("time").endswith("Z")
    assert line == {
        "level": "info",
        "logger": "gateway.sync",
        "message": f"{NASTY} is here",
    }


def test_an_exception_is_in_its_line(capsys: pytest.CaptureFixture[str]) -> None:
    configure(LogSettings("json"))
    try:
        raise ValueError(NASTY)
    except ValueError:
        logging.getLogger("x").exception("it failed")
    (line,) = lines(capsys)
    assert (line["level"], line["message"]) == ("error", "it failed")
    assert "Traceback" in line["exception"]


def test_lines_bear_the_ids_of_their_request(capsys: pytest.CaptureFixture[str]) -> None:
    configure(LogSettings("json"))
    current_request.set(RequestIds("ours", "theirs"))
    logging.getLogger("x").info("during")
    current_request.set(RequestIds("another"))
    logging.getLogger("x").info("later", extra={"fields": {"seconds": 0.5}})
    current_request.set(None)
    logging.getLogger("x").info("between")
    first, second, third = lines(capsys)
    assert (first["request"], first["caller_id"]) == ("ours", "theirs")
    assert (second["request"], second["seconds"]) == ("another", 0.5)
    assert "caller_id" not in second
    assert "request" not in third


def test_lines_for_people_are_one_each(capsys: pytest.CaptureFixture[str]) -> None:
    configure(LogSettings())
    current_request.set(RequestIds("ours"))
    logging.getLogger("x").warning("%s", NASTY)
    text = capsys.readouterr().err
    assert text.count("\n") == 1
    assert "\x1b" not in text
    assert text.endswith('WARNING x: a\\nb\\r\\x1b[2J"\\u2028é request=ours\n')


@pytest.mark.parametrize(("level", "told"), [("debug", 2), ("info", 1), ("error", 0)])
def test_the_least_that_is_told(level: str, told: int, capsys: pytest.CaptureFixture[str]) -> None:
    configure(LogSettings("json", level))
    logging.getLogger("x").debug("a detail")
    logging.getLogger("x").info("an event")
    assert len(lines(capsys)) == told


@pytest.mark.parametrize("requests", [False, True])
def test_each_call_is_told_of_only_where_that_is_wished(
    requests: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    configure(LogSettings("json", requests=requests))
    logging.getLogger(REQUESTS).info("a call")
    assert len(lines(capsys)) == requests


@pytest.mark.parametrize("settings", [{"format": "xml"}, {"level": "loud"}, {"level": "INFO"}])
def test_what_is_no_setting_is_refused(settings: dict[str, str]) -> None:
    with pytest.raises(ConfigError, match=r"\[log\]"):
        LogSettings(**settings)


FORGED = "2026-01-01 00:00:00,000 INFO sealgate.requests: forged"


@pytest.mark.parametrize("end", ["\n", "\r", "\r\n", "\x85", "\u2028", "\x1b[2J\n"])
def test_an_exception_text_cannot_forge_a_log_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, end: str
) -> None:
    root = logging.getLogger()
    before = root.level
    monkeypatch.setattr(root, "handlers", [])
    try:
        configure(LogSettings())
        try:
            raise ValueError(f"a{end}{FORGED}")
        except ValueError:
            logging.getLogger("x").exception("it failed")
    finally:
        root.setLevel(before)
    first, *rest = capsys.readouterr().err.splitlines()
    assert first.endswith("ERROR x: it failed")
    assert any(FORGED in line for line in rest)
    assert all(line.startswith("  ") and line.isprintable() for line in rest)
