"""A console for tests, in this process: pages by HTTP, or served on loopback for a browser."""

import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import uvicorn
from httpx2 import Response
from starlette.applications import Starlette
from starlette.testclient import TestClient

from console.app import build
from console.config import ConsoleConfig
from demo.stage import free_ports
from tests.support.harness.gateway import GatewayHarness

_LARGEST = 100_000
_COOKIE = re.compile(r"__Host-sealgate=([^;]+)")


class ConsoleHarness:
    """The console of an installation. Each visitor has cookies of their own."""

    def __init__(
        self,
        gateway: GatewayHarness,
        clock: Callable[[], float] | None = None,
        change: Callable[[ConsoleConfig], ConsoleConfig] = lambda config: config,
    ) -> None:
        self.gateway = gateway
        read = ConsoleConfig.read(gateway.state / "console.toml")
        port = free_ports()
        listen = replace(
            read.listen, address=f"127.0.0.1:{port}", origin=f"http://localhost:{port}"
        )
        self.config = change(replace(read, listen=listen))
        self.app: Starlette = build(self.config, clock) if clock else build(self.config)

    @property
    def origin(self) -> str:
        return self.config.listen.origin

    @property
    def links(self) -> Path:
        folder = self.config.links.folder
        assert folder is not None
        return folder

    def link(self, person: str, *options: str) -> str:
        """The path of a one-time link, made as an admin of the machine makes it."""
        result = self.gateway.command("console", "link", person, *options)
        assert result.exit_code == 0, result.output or result.exception
        return "/links/" + result.output.strip().rpartition("/")[2]

    def visitor(self) -> TestClient:
        """A browser without cookies, which sends forms as from the console's own pages."""
        headers = {"origin": self.origin, "user-agent": "a test"}
        return TestClient(self.app, base_url=self.origin, headers=headers, follow_redirects=False)

    def signed_in(self, person: str) -> TestClient:
        """A browser with a session of the person."""
        visitor = self.visitor()
        answer = visitor.post(self.link(person))
        assert answer.status_code == 200, answer.text
        visitor.headers["cookie"] = f"__Host-sealgate={session_number(answer)}"
        return visitor

    @contextmanager
    def serving(self) -> Iterator[None]:
        """The console on its loopback port."""
        config = uvicorn.Config(
            self.app, port=self.config.listen.port, log_config=None, lifespan="off"
        )
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, daemon=True)
        thread.start()
        try:
            while not server.started:
                assert thread.is_alive(), "the console did not start"
                thread.join(0.01)
            yield
        finally:
            server.should_exit = True
            thread.join()


def session_number(answer: Response) -> str:
    """The number in the session cookie that an answer sets; the client itself sends such a cookie
    over https alone.
    """
    found = _COOKIE.search(answer.headers.get("set-cookie", ""))
    assert found, answer.headers
    return found[1]


def csrf_of(page: str) -> str:
    """The CSRF token in a page's forms."""
    found = re.search(r'name="csrf" value="([^"]+)"', page)
    assert found, page
    return found[1]


def text_of(answer: Response) -> str:
    """A page's words as people read them."""
    assert answer.status_code == 200, answer.text
    assert len(answer.content) < _LARGEST
    assert "style=" not in answer.text
    words = re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", answer.text)).replace("&nbsp;", " ")
    return re.sub(r" ([,.:;])", r"\1", words)
