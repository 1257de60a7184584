"""An exception's text came as it was below its line of the text log: one that quoted a caller could
begin a line of its own, and so forge one.
"""

import logging

import pytest

from sealgate.logs import LogSettings, configure

FORGED = "2026-01-01 00:00:00,000 INFO sealgate.requests: forged"


@pytest.mark.parametrize("end", ["\n", "\r", "\r\n", "\x85", "\u2028", "\x1b[2J\n"])
def test_no_line_of_it_passes_for_ours(
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
