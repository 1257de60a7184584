"""Those who begin to sign in do not keep people out who are signed in."""

import threading
from typing import Any

import anyio
from httpx2 import ASGITransport, AsyncClient
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from console.sign_in.routes import SignIn

_MANY = 100
_PATIENCE = 60.0


class SlowProvider:
    """One that answers once it is let."""

    def __init__(self) -> None:
        self.may_answer = threading.Event()

    def begin(self) -> tuple[str, str]:
        assert self.may_answer.wait(_PATIENCE)
        return "https://provider.example/authorize", "number"


class Pages:
    """Stands for the console, of which beginning needs the templates alone."""

    class templates:  # noqa: N801
        @staticmethod
        def render(name: str, **values: Any) -> str:
            return name


def page(request: Request) -> PlainTextResponse:
    """On a thread, as all pages of people who are signed in."""
    return PlainTextResponse("here")


def test_a_slow_provider_leaves_threads_for_others() -> None:
    provider = SlowProvider()
    sign_in: Any = SignIn(Pages, None, provider)  # type: ignore[arg-type]
    app = Starlette(routes=[*sign_in.routes(), Route("/page", page)])

    async def ask() -> None:
        client = AsyncClient(transport=ASGITransport(app=app), base_url="http://localhost")
        async with client, anyio.create_task_group() as tasks:
            for _ in range(_MANY):
                tasks.start_soon(client.post, "/oidc/begin")
            await anyio.wait_all_tasks_blocked()
            try:
                with anyio.fail_after(_PATIENCE / 2):
                    assert (await client.get("/page")).text == "here"
            finally:
                provider.may_answer.set()

    anyio.run(ask)
