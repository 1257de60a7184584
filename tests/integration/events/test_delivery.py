"""Deliveries: in order for each model, again until they are taken, dead letters, after a crash."""

import threading

import pytest

from sealgate.events.config import DeliverySettings
from sealgate.events.delivery import Deliveries
from sealgate.events.store import EventStore
from sealgate.reasons import SealgateError
from tests.support.harness.deployment import until
from tests.support.harness.servers.webhooks import WebhookReceiver

QUICK = DeliverySettings(timeout=2.0, first_pause=0.01, longest_pause=0.02)


@pytest.fixture
def deliver(store, webhook, receiver):
    """Starts deliveries to the receiver, or to others."""
    started = []

    def start(settings=QUICK, receivers=None, clock=None) -> Deliveries:
        to = receivers or [webhook(receiver.url)]
        made = Deliveries(store, to, settings, **({"clock": clock} if clock else {}))
        made.start()
        started.append(made)
        return made

    yield start
    for made in started:
        made.stop()


def add(store, deliveries, event):
    store.add([(event, ["hook"])])
    deliveries.wake(["hook"], event.model)


def test_what_waits_is_delivered_in_the_order_of_its_model(store, receiver, deliver, event):
    store.add([(event(n, model), ["hook"]) for n in range(20) for model in ("a", "b")])
    deliver()
    receiver.wait(40)
    for model in ("a", "b"):
        ids = [each for each in receiver.ids() if each.endswith(model)]
        assert ids == [f"{n}-{model}" for n in range(20)]
    until(lambda: store.counts() == {})


def test_a_failing_delivery_holds_back_its_own_model_alone(store, receiver, deliver, event):
    broken = threading.Event()
    broken.set()
    receiver.answer = lambda came: (
        500 if broken.is_set() and came.headers["webhook-id"] == "0-bad" else 204
    )
    deliveries = deliver()
    for n in range(3):
        for model in ("bad", "good"):
            add(store, deliveries, event(n, model))
    until(lambda: [i for i in receiver.ids() if "good" in i] == ["0-good", "1-good", "2-good"])
    until(lambda: receiver.ids().count("0-bad") > 2)
    assert "1-bad" not in receiver.ids()
    broken.clear()
    until(lambda: "2-bad" in receiver.ids())
    after = [each for each in receiver.ids() if each.endswith("bad") and each != "0-bad"]
    assert after == ["1-bad", "2-bad"]
    until(lambda: deliveries.lanes["hook"].results["delivered"] == 6)
    assert deliveries.lanes["hook"].results["failed"] == receiver.ids().count("0-bad") - 1


def test_a_destination_that_is_slow_does_not_hold_up_another(
    store, receiver, deliver, webhook, event
):
    slow, blocked = WebhookReceiver(), threading.Event()
    slow.answer = lambda _: 204 if blocked.wait(60) else 500
    both = [webhook(slow.url, name='"slow"'), webhook(receiver.url)]
    try:
        store.add([(event(n, f"m{n}"), ["slow", "hook"]) for n in range(8)])
        deliver(DeliverySettings(timeout=60.0), both)
        receiver.wait(8)
        assert not slow.received
    finally:
        blocked.set()
        slow.wait(8)
        until(lambda: store.counts() == {})
        slow.close()


def test_after_the_time_to_give_up_it_is_a_dead_letter_and_the_next_goes(
    store, receiver, deliver, event
):
    receiver.answer = lambda came: 500 if came.headers["webhook-id"] == "0-digits" else 204
    store.add([(event(n), ["hook"]) for n in range(2)])
    deliver(DeliverySettings(first_pause=0.01, give_up=0.001))
    receiver.wait(2)
    until(lambda: store.waiting() == 0)
    (letter,) = store.dead_letters()
    assert (letter.id, letter.error, letter.destination) == ("0-digits", "HTTP 500", "hook")
    assert receiver.ids()[-1] == "1-digits"


def test_a_dead_letter_that_another_process_retries_is_delivered(
    store, receiver, deliver, event, tmp_path
):
    receiver.answer = lambda _: 410
    deliveries = deliver()
    add(store, deliveries, event(0))
    until(lambda: len(store.dead_letters()) == 1)
    receiver.answer = lambda _: 204
    command = EventStore(tmp_path / "events.sqlite")
    command.retry(command.dead_letters())
    command.close()
    receiver.wait(2)
    until(lambda: store.counts() == {})
    assert receiver.ids() == ["0-digits", "0-digits"]


def test_a_dead_letter_may_be_dropped(store, deliver, receiver, event):
    receiver.answer = lambda _: 410
    store.add([(event(0), ["hook"])])
    deliver()
    until(lambda: len(store.dead_letters()) == 1)
    store.drop(store.dead_letters())
    assert store.counts() == {}


def test_what_waits_for_a_destination_that_was_removed_is_a_dead_letter(store, deliver, event):
    store.add([(event(0), ["gone"])])
    deliver()
    (letter,) = store.dead_letters()
    assert letter.error == "the destination is no longer configured"


def test_what_was_under_way_when_the_process_died_is_delivered_after_it_starts(
    store, receiver, deliver, event, tmp_path
):
    store.add([(event(n), ["hook"]) for n in range(3)], [("registry", "3")])
    store.delivered(store.first("hook", "digits"))
    again = EventStore(tmp_path / "events.sqlite")
    assert again.recall("registry") == "3"
    again.close()
    deliver()
    receiver.wait(2)
    assert receiver.ids() == ["1-digits", "2-digits"]


def test_an_event_and_the_place_behind_it_are_kept_together_or_not_at_all(store, event):
    with pytest.raises(SealgateError, match="DOCUMENT_MALFORMED"):
        store.add([(event(0), ["hook"]), (event(2**53), ["hook"])], [("registry", "2")])
    assert (store.recall("registry"), store.counts()) == (None, {})
