import pytest
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from console.app import HEADERS, OriginGuard

ORIGIN = "https://console.example"


@pytest.fixture
def client():
    def answer(request):
        return PlainTextResponse("here")

    app = Starlette(routes=[Route("/", answer, methods=["GET", "POST"])])
    guarded = OriginGuard(app, origin=ORIGIN, authority="console.example")
    return TestClient(guarded, base_url=ORIGIN)


def test_every_answer_has_the_security_headers_and_is_stored_nowhere(client):
    for answer in (client.get("/"), client.get("/missing"), client.post("/")):
        assert {name: answer.headers[name] for name in HEADERS} == dict(HEADERS)
        assert answer.headers["cache-control"] == "no-store"


@pytest.mark.parametrize("host", ["evil.example", "console.example:444", "127.0.0.1", ""])
def test_another_host_is_refused(client, host):
    answer = client.get("/", headers={"host": host})
    assert answer.status_code == 421
    assert "not served under this name" in answer.text


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"origin": "https://evil.example"},
        {"origin": "http://console.example"},
        {"origin": "null"},
        {"origin": "null", "sec-fetch-site": "cross-site"},
        {"origin": "null", "sec-fetch-site": "same-site"},
        {"origin": "https://evil.example", "sec-fetch-site": "same-origin"},
        {"sec-fetch-site": "none"},
    ],
)
def test_a_form_of_another_origin_is_refused(client, headers):
    answer = client.post("/", headers=headers)
    assert answer.status_code == 403
    assert "from another site" in answer.text


@pytest.mark.parametrize(
    "headers", [{"origin": ORIGIN}, {"origin": "null", "sec-fetch-site": "same-origin"}]
)
def test_a_form_of_its_own_pages_is_taken(client, headers):
    assert client.post("/", headers=headers).text == "here"
