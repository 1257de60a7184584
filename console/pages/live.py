"""What came of a promotion or a rollback: when this gateway has loaded what an alias points at."""

import json
from collections.abc import AsyncIterator

from anyio import sleep
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response, StreamingResponse

from console.reading.aliases import health, health_word, newest_pointer
from console.views import View
from sealgate.reasons import Reason, SealgateError
from sealgate.trust.fields import check_name
from sealgate.v1 import registry_pb2 as messages

_PAUSE = 0.05
_MOST_LOOKS = 1200
"""Looks of one stream; the browser then asks for another."""


def _state(view: View) -> tuple[messages.Pointer, str]:
    """Where the alias points, and whether this gateway has loaded it."""
    model, alias = check_name(view.path("model")), check_name(view.path("alias"))
    pointer = newest_pointer(view.calls, model, alias)
    if pointer is None:
        raise SealgateError(Reason.ALIAS_UNKNOWN, f"{model}/{alias}")
    return pointer, health_word(health(view.calls), model, pointer)


def _words(pointer: messages.Pointer, state: str) -> dict[str, str]:
    """What the page says: a word, how it is meant, and a sentence."""
    version = f"Version {pointer.version}"
    if state == "ready":
        return {"word": "live", "kind": "good", "text": f"{version} answers now."}
    if state:
        return {"word": state, "kind": "bad", "text": f"{version} is not loaded."}
    return {"word": "loading", "kind": "warn", "text": f"{version} is being verified and loaded."}


def live(view: View) -> Response:
    """The state now; the page's script follows it until the version answers."""
    pointer, state = _state(view)
    return view.render(
        "live.html",
        model=view.path("model"),
        alias=view.path("alias"),
        pointer=pointer,
        words=_words(pointer, state),
        ready=state == "ready",
    )


def events(view: View) -> Response:
    """The states as server-sent events, each when it begins; ends once the version answers."""
    first = _state(view)

    async def told() -> AsyncIterator[str]:
        said, found = "", first
        for _ in range(_MOST_LOOKS):
            text = json.dumps(_words(*found))
            if text != said:
                said = text
                yield f"data: {text}\n\n"
            if found[1] == "ready":
                yield "event: end\ndata: \n\n"
                return
            await sleep(_PAUSE)
            try:
                found = await run_in_threadpool(_state, view)
            except SealgateError:
                # The page asks again by itself, and is told why.
                return

    return StreamingResponse(told(), media_type="text/event-stream")


ROUTES = [
    ("/models/{model}/aliases/{alias}/live", live, ("GET",)),
    ("/models/{model}/aliases/{alias}/live/events", events, ("GET",)),
]
