"""Honest callers beside an attack, in a process of their own: the time of each answer."""

import asyncio
import time
from collections import Counter
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import grpc

from demo.questions import question
from sealgate.oip.grpc_service_pb2_grpc import GRPCInferenceServiceStub
from sealgate.remote import Profile, access_of, reason_name_of
from tests.support.harness.gateway import rows

IN_FLIGHT = 32
_TIMEOUT = 120.0


@dataclass(frozen=True, slots=True)
class Answers:
    """How long each answer took, in ms, and how often each reason was given instead."""

    milliseconds: tuple[float, ...]
    refused: dict[str, int]

    def at(self, share: float) -> float:
        ordered = sorted(self.milliseconds)
        return ordered[min(int(share * len(ordered)), len(ordered) - 1)]


class Callers:
    """A process that asks until there are `least` answers, and then until it is told to stop."""

    def __init__(self, profile: Path, least: int) -> None:
        context = get_context("spawn")
        self._connection, other = context.Pipe()
        self._process = context.Process(target=_run, args=(profile, least, other), daemon=True)
        self._process.start()
        assert self._connection.recv() == "begun"  # noqa: S101

    @property
    def enough(self) -> bool:
        """Whether there are `least` answers."""
        return self._connection.poll()

    def finish(self) -> Answers:
        """Wait until there are enough, and stop."""
        assert self._connection.recv() == "enough"  # noqa: S101
        self._connection.send("stop")
        found: Answers = self._connection.recv()
        self._process.join()
        return found


def _run(profile: Path, least: int, connection: Connection) -> None:
    asyncio.run(_ask(Profile.read(profile), least, connection))


async def _ask(profile: Profile, least: int, connection: Connection) -> None:
    access = access_of(profile)
    taken: list[float] = []
    refused: Counter[str] = Counter()
    stop = asyncio.Event()
    async with grpc.aio.secure_channel(access.endpoint, access.credentials()) as channel:
        call: Any = GRPCInferenceServiceStub(channel).ModelInfer
        requests = [question("digits", rows("digits", 20)[at : at + 1]) for at in range(20)]
        await asyncio.gather(*(call(requests[n % 20], timeout=_TIMEOUT) for n in range(IN_FLIGHT)))
        connection.send("begun")

        async def caller(first: int) -> None:
            at = first
            while not stop.is_set():
                at += 1
                begun = time.perf_counter()
                try:
                    await call(requests[at % 20], timeout=_TIMEOUT)
                except grpc.RpcError as error:
                    refused[reason_name_of(error) or str(error.code())] += 1
                else:
                    taken.append(1000 * (time.perf_counter() - begun))

        callers = [asyncio.create_task(caller(number)) for number in range(IN_FLIGHT)]
        while len(taken) < least:
            await asyncio.sleep(0.01)
        connection.send("enough")
        await asyncio.to_thread(connection.recv)
        stop.set()
        await asyncio.gather(*callers)
    connection.send(Answers(tuple(taken), dict(refused)))
