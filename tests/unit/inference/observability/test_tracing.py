"""Traces by themselves: what of a caller's trace is followed, and that nothing happens when off."""

import sys

import pytest

from inference.observability import tracing
from inference.observability.tracing import ParentSpan, TraceSettings, parent_in
from sealgate.settings import ConfigError

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
GOOD = f"00-{TRACE}-{SPAN}-01"


def test_a_traceparent_is_followed() -> None:
    found = parent_in([("x", "y"), ("traceparent", GOOD)])
    assert found == ParentSpan(int(TRACE, 16), int(SPAN, 16), 1)


@pytest.mark.parametrize(
    "values",
    [
        (),
        ("",),
        (GOOD, GOOD),
        (GOOD.upper(),),
        (GOOD + "-extra",),
        (GOOD + "\n",),
        (" " + GOOD,),
        ("01" + GOOD[2:],),
        ("ff" + GOOD[2:],),
        (f"00-{'0' * 32}-{SPAN}-01",),
        (f"00-{TRACE}-{'0' * 16}-01",),
        (f"00-{TRACE[:-1]}g-{SPAN}-01",),
        (f"00-{TRACE}-{SPAN}-1",),
        ("0" * 100_000,),
        (GOOD.encode(),),
    ],
)
def test_what_has_another_form_is_not(values: tuple[str | bytes, ...]) -> None:
    assert parent_in([("traceparent", value) for value in values]) is None


def test_off_it_does_nothing() -> None:
    tracing.start(TraceSettings(), "gateway")
    assert not tracing.is_on()
    assert tracing.span("a") is tracing.span("b") is tracing.call("c", lambda: 1 / 0)
    with tracing.span("a"), tracing.span("b"):
        tracing.say(model="digits")
        tracing.past("queue", 0, 1)
    assert tracing.outgoing() == ()
    tracing.stop()


@pytest.mark.parametrize("settings", [{"endpoint": "localhost:4317"}, {"share": 1.5}])
def test_what_is_no_setting_is_refused(settings: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match=r"\[traces\]"):
        TraceSettings(**settings)


def test_without_its_extra_nothing_is_traced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "inference.observability.otlp", None)
    with pytest.raises(ConfigError, match="pip install"):
        tracing.start(TraceSettings("http://127.0.0.1:1"), "gateway")
    assert not tracing.is_on()
