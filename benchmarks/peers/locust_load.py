"""Drives one gateway with Locust, and prints what became of the requests, a line of JSON a step.

Usage: locust_load.py PLAN.json, whose fields are those of `StepsPlan`. Runs where Locust is.

Each of Locust's users asks at random moments, `EACH` times a second on average, whatever became of
what it asked before: an open loop, as the world is one. How many users there are follows the steps.
"""

import json
import random
import struct
import sys
import time
from collections import Counter
from dataclasses import dataclass, field

import gevent
import grpc.experimental.gevent as grpc_gevent

grpc_gevent.init_gevent()
# A call holds one of these threads while it waits; with ten, as gevent has it, who is refused at
# once would hear of it only when another is answered.
gevent.get_hub().threadpool.maxsize = 1024

import grpc  # noqa: E402
from google.rpc import error_details_pb2, status_pb2  # noqa: E402
from locust import LoadTestShape, User, task  # noqa: E402
from locust.env import Environment  # noqa: E402

EACH = 10
_METHOD = "/inference.GRPCInferenceService/ModelInfer"
_STATUS = "grpc-status-details-bin"
_CHANNELS = 16
_SETTLE_SECONDS = 1.0


@dataclass(frozen=True)
class StepsPlan:
    address: str
    authority: str
    token: str
    requests: str
    # How long, and how many times the capacity, each step is.
    seconds: float
    loads: list
    # Seconds that a caller waits, and calls in flight to find the capacity with.
    patience: float
    in_flight: int
    capacity_seconds: float


@dataclass
class Step:
    """The results of a step; times in milliseconds."""

    load: float
    users: int
    asked: int = 0
    ok: list = field(default_factory=list)
    refused: list = field(default_factory=list)
    reasons: Counter = field(default_factory=Counter)
    without_retry: int = 0


class Asker:
    """Channels to the gateway, and the requests in turn."""

    def __init__(self, plan):
        with open(plan.authority, "rb") as file:
            credentials = grpc.ssl_channel_credentials(file.read())
        # A channel of its own each: gRPC would share one connection.
        options = (("grpc.use_local_subchannel_pool", 1),)
        channels = [
            grpc.secure_channel(plan.address, credentials, options) for _ in range(_CHANNELS)
        ]
        self._methods = [channel.unary_unary(_METHOD) for channel in channels]
        self._metadata = (("authorization", f"Bearer {plan.token}"),)
        self._requests = list(_read(plan.requests))
        self._patience = plan.patience
        self._turn = 0

    def ask(self):
        """Seconds, and the error if there was one."""
        self._turn += 1
        method = self._methods[self._turn % _CHANNELS]
        request = self._requests[self._turn % len(self._requests)]
        began = time.perf_counter()
        try:
            method(request, timeout=self._patience, metadata=self._metadata)
        except grpc.RpcError as error:
            return time.perf_counter() - began, error
        return time.perf_counter() - began, None


class Course:
    """The steps, and where in them we are."""

    def __init__(self, plan, asker, capacity):
        self.asker = asker
        self.steps = [Step(load, max(1, round(load * capacity / EACH))) for load in plan.loads]
        self._seconds = plan.seconds
        self._began = time.monotonic()

    def begin(self):
        self._began = time.monotonic()

    def place(self):
        return int((time.monotonic() - self._began) // self._seconds)

    def ask(self):
        """Ask once, and note the outcome in the step that it was due in."""
        place = self.place()
        if place >= len(self.steps):
            return
        step = self.steps[place]
        step.asked += 1
        seconds, error = self.asker.ask()
        if error is None:
            step.ok.append(1000 * seconds)
            return
        reason, says_when = _told(error)
        step.reasons[reason] += 1
        if error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED:
            step.refused.append(1000 * seconds)
            step.without_retry += not says_when


def main():
    with open(sys.argv[1]) as file:
        plan = StepsPlan(**json.load(file))
    asker = Asker(plan)
    capacity = _capacity(plan, asker)
    print(json.dumps({"capacity": capacity}), flush=True)
    course = Course(plan, asker, capacity)
    environment = Environment(user_classes=[_caller(course)], shape_class=_shape(course))
    runner = environment.create_local_runner()
    course.begin()
    runner.start_shape()
    while course.place() < len(course.steps):
        gevent.sleep(0.2)
    runner.quit()
    gevent.sleep(plan.patience)
    for step in course.steps:
        print(json.dumps(_report(step, plan.seconds)), flush=True)


def _caller(course):
    class Caller(User):
        @task
        def go(self):
            gevent.sleep(random.expovariate(EACH))
            gevent.spawn(course.ask)

    return Caller


def _shape(course):
    class Steps(LoadTestShape):
        use_common_options = False

        def tick(self):
            place = course.place()
            if place >= len(course.steps):
                return None
            users = course.steps[place].users
            return users, users

    return Steps()


def _capacity(plan, asker):
    """Answers a second with always so many calls in flight; the first second does not count."""
    answered = []
    end = time.monotonic() + _SETTLE_SECONDS + plan.capacity_seconds

    def ask():
        while time.monotonic() < end:
            _, error = asker.ask()
            if error is None:
                answered.append(time.monotonic())

    gevent.joinall([gevent.spawn(ask) for _ in range(plan.in_flight)])
    return sum(moment > end - plan.capacity_seconds for moment in answered) / plan.capacity_seconds


def _told(error):
    """The reason of a refusal, and whether it says when to come again."""
    for name, value in error.trailing_metadata() or ():
        if name == _STATUS:
            reason, says_when = error.code().name, False
            info, retry = error_details_pb2.ErrorInfo(), error_details_pb2.RetryInfo()
            for detail in status_pb2.Status.FromString(value).details:
                if detail.Unpack(info):
                    reason = info.reason
                says_when = says_when or detail.Unpack(retry)
            return reason, says_when
    return error.code().name, False


def _report(step, seconds):
    return {
        "load": step.load,
        "offered": step.asked / seconds,
        "answered": len(step.ok),
        "goodput": len(step.ok) / seconds,
        "p50_ms": _share(step.ok, 0.5),
        "p99_ms": _share(step.ok, 0.99),
        "refused": len(step.refused),
        "refused_p50_ms": _share(step.refused, 0.5),
        "refused_p99_ms": _share(step.refused, 0.99),
        "refused_without_retry": step.without_retry,
        "reasons": dict(step.reasons),
    }


def _share(values, share):
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else None


def _read(path):
    with open(path, "rb") as file:
        while head := file.read(4):
            yield file.read(struct.unpack("<I", head)[0])


if __name__ == "__main__":
    main()
