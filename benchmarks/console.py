"""`make bench NAME=console`: what the web console's pages cost over a long history.

One installation with a thousand versions of a model and a million recorded decisions. Gateway and
console are processes of their own, as people start them; the browser is this process, which asks
for one page after another. Prints a table; writes results/console.json.

Of signing it measures the time from an approval by passkey to a live version. The passkeys are
software; all else is what people use: the console's pages by HTTP, its gateway, and the registry
and engine behind it.
"""

import argparse
import json
import os
import re
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import httpx2
import numpy as np
from safetensors.numpy import load_file

from benchmarks.history import BEGAN, CALLERS, DAYS, fill
from benchmarks.processes import children, processor_seconds
from benchmarks.report import Target, finish, show
from console.display.formats import from_base64url
from demo.materials import DATA, MODELS
from demo.questions import Load
from demo.stage import Stage, free_ports
from demo.story import promote_approved
from sealgate.oip import grpc_service_pb2 as oip
from sealgate.oip.grpc_service_pb2_grpc import GRPCInferenceServiceStub
from sealgate.remote import connect
from sealgate.remote.calls import new_request_id
from sealgate.remote.uploads import Package, Uploader
from sealgate.signed_version import SignedVersion
from sealgate.trust import canonical, dsse
from sealgate.trust.dsse import Envelope
from sealgate.trust.fields import base64url
from sealgate.trust.keys import load_private_key
from sealgate.trust.statements import Evidence, Manifest, oms, types
from sealgate.v1 import registry_pb2 as messages
from sealgate.v1.registry_pb2_grpc import RegistryServiceStub
from tests.support.builders.documents.authenticator import Authenticator

_PAGE_MS, _FIND_MS, _LARGEST, _LIVE_MS = 50.0, 200.0, 100_000.0, 1_000.0
_SAMPLES = 4
_SHARED = "browser, console and gateway share two cores"
_GROUPS = (
    "each receipt of a search's first message is made by the gateway and verified by the console, "
    "and more come than a page shows"
)
SIGNERS = ("approver-1", "approver-2", "admin")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--versions", type=int, default=1_000)
    parser.add_argument("--entries", type=int, default=1_000_000)
    parser.add_argument("--times", type=int, default=60, help="how often each page is asked for")
    parser.add_argument("--moves", type=int, default=10, help="promotions by passkey")
    options = parser.parse_args()
    with TemporaryDirectory() as folder, _installation(Path(folder) / "state", options) as stage:
        rows = _pages(stage, options)
        moved = _moves(stage, options)
    show(rows, title="ms a page, one after another")
    slowest = max(row["p95_ms"] for row in rows if row["page"] != "find")
    rows.append(moved)
    find = next(row["p95_ms"] for row in rows if row["page"] == "find")
    targets = [
        Target("slowest page, find apart, p95 ms", slowest, _PAGE_MS),
        Target("decision found by caller and day, p95 ms", find, _FIND_MS),
        Target("largest page, bytes", max(row.get("bytes", 0) for row in rows), _LARGEST),
        Target("approve by passkey to live, p95 ms", moved["p95_ms"], _LIVE_MS),
    ]
    whys = dict.fromkeys((targets[0].name, targets[3].name), _SHARED)
    whys[targets[1].name] = _GROUPS
    finish(
        "console",
        rows,
        [target.unless_met(whys) for target in targets],
        versions=options.versions,
        entries=options.entries,
        nice=os.nice(0),
    )


@contextmanager
def _installation(state: Path, options: argparse.Namespace) -> Iterator[Stage]:
    """A running gateway and console over the history."""
    stage = Stage(state)
    ports = ("--port", str(free_ports()), "--console-port", str(free_ports()))
    stage.command("init", "--unencrypted-keys", *ports)
    stage.start_gateway()
    try:
        for name in ("digits-standard", "digits-hardened"):
            words = ("model", "publish", str(MODELS / name), "--json")
            data = ("--data", str(DATA / "digits.safetensors"))
            stage.command(*words, *data, person="publisher")
        promote_approved(stage, "digits", 1)
        _register(stage, options.versions - 2)
        stage.stop_gateway()
        fill(state, options.entries)
        stage.start_gateway()
        _ask(stage)
        stage.start_console()
        yield stage
    finally:
        stage.stop_console()
        stage.stop_gateway()


def _ask(stage: Stage) -> None:
    """Ask for answers until the gateway has samples enough for charts of its traffic."""
    rows = load_file(DATA / "digits.safetensors")["x_test"].astype(np.float32)
    request = oip.ModelStatisticsRequest(name="digits")
    with connect(stage.profile("client")) as client, connect(stage.profile("auditor")) as auditor:
        statistics = GRPCInferenceServiceStub(auditor)
        with Load(GRPCInferenceServiceStub(client), "digits", rows):
            while len(statistics.ModelStatistics(request).model_stats[0].history) < _SAMPLES:
                time.sleep(1)


def _register(stage: Stage, count: int) -> None:
    """Register so many more versions: those files of version 2 with another `model.json`."""
    person = stage.profile("publisher")
    signer = load_private_key(Path(str(person.model_signing_key)))
    own = load_private_key(Path(str(person.signing_key)))
    with connect(person) as channel, TemporaryDirectory() as place:
        registry, uploader = RegistryServiceStub(channel), Uploader(channel)
        request = messages.GetVersionRequest(name="models/digits/versions/2")
        found = registry.GetVersion(request).version
        manifest = Manifest.decode(found.manifest)
        signed = SignedVersion(found.name, manifest, signer.public)
        files = {entry.path: signed.file(registry, entry.path) for entry in manifest.files}
        paths = {name: Path(place, name) for name in files}
        for name, data in files.items():
            paths[name].write_bytes(data)
        items = [Evidence.decode(Envelope.decode(item).payload) for item in found.evidence]
        about = canonical.decode(files["model.json"])
        for number in range(count):
            files["model.json"] = canonical.encode(about | {"description": f"copy {number}"})
            paths["model.json"].write_bytes(files["model.json"])
            made = Manifest.of(files)
            stated = [replace(item, version_digest=made.digest).encode() for item in items]
            evidence = [dsse.sign(types.EVIDENCE, each, own).encode() for each in stated]
            commitment = canonical.sha256(f"commitment {number}".encode())
            registry.CommitWatermark(
                messages.CommitWatermarkRequest(
                    model="digits", commitment=commitment, request_id=new_request_id()
                )
            )
            signature = oms.sign(made, signer)
            uploader.publish(Package("digits", made, signature, evidence, commitment, paths))


def _pages(stage: Stage, options: argparse.Namespace) -> list[dict[str, Any]]:
    with closing(signed_in(stage, "auditor")) as browser:
        pages = _addresses(browser, options)
        return [
            {"page": name, **_measured(browser, addresses, options.times)}
            for name, addresses in pages.items()
        ]


def _moves(stage: Stage, options: argparse.Namespace) -> dict[str, Any]:
    """From the last approval by passkey, through the promotion, to a version that answers."""
    taken = approve_to_live(stage, signers(stage), list(range(2, 2 + options.moves)))
    p50, p95 = (float(np.percentile(taken, share)) for share in (50, 95))
    row = {"page": "approve to live", "p50_ms": p50, "p95_ms": p95, "moves": len(taken)}
    show([row], title="ms from the last approval by passkey to live, with the promotion between")
    return row


def _addresses(browser: httpx2.Client, options: argparse.Namespace) -> dict[str, list[str]]:
    """Different addresses of each page, so that nothing is asked for twice in a row."""
    some = np.random.default_rng(0)
    versions = [int(n) for n in some.integers(20, options.versions, options.times)]
    days = [(BEGAN + timedelta(days=int(n))).date() for n in some.integers(0, DAYS, 100)]
    found = re.search(r"/proposals/sha256:[0-9a-f]+", browser.get("/proposals?state=moved").text)
    log = re.search(r'[^">]+/answers', browser.get("/").text)
    if found is None or log is None:
        raise SystemExit("the console shows no proposal or no log")
    entries = [int(n) for n in some.integers(0, options.entries, options.times)]
    return {
        "overview": ["/"],
        "model": [f"/models/digits?from={n}" for n in versions],
        "version": [f"/models/digits/versions/{n}" for n in versions],
        "moves": ["/models/digits/aliases/production"],
        "proposals": ["/proposals"],
        "proposal": [found[0]],
        "audit": ["/audit"],
        "find": [
            f"/audit?principal=caller-{at % CALLERS}&day={day}" for at, day in enumerate(days)
        ],
        "entry": [f"/audit/entries/{n}?log={log[0]}" for n in entries],
        "people": ["/people"],
        "person": ["/people/admin?action=promote&model=digits"],
    }


def _measured(browser: httpx2.Client, addresses: list[str], times: int) -> dict[str, Any]:
    taken, largest, before = [], 0, _processor_seconds()
    for at in range(times):
        began = time.perf_counter()
        answer = browser.get(addresses[at % len(addresses)])
        taken.append(1e3 * (time.perf_counter() - began))
        answer.raise_for_status()
        largest = max(largest, len(answer.content))
    p50, p95 = (float(np.percentile(taken, share)) for share in (50, 95))
    cpu = 1e3 * (_processor_seconds() - before) / times
    return {"p50_ms": p50, "p95_ms": p95, "cpu_ms": cpu, "bytes": largest}


def _processor_seconds() -> float:
    """The processor time of gateway and console so far, in seconds of a core."""
    return sum(map(processor_seconds, children(os.getpid())))


@dataclass(frozen=True)
class SigningPerson:
    """A person with a session and a passkey."""

    browser: httpx2.Client
    key: Authenticator
    csrf: str

    def sign(self, action: str, **form: str) -> str:
        """Prepare a statement, sign it, send it; return where the page leads then."""
        asked = {"csrf": self.csrf, "action": action, "words": "measured", **form}
        page = self.browser.post("/sign", data=asked).raise_for_status().text
        challenge = from_base64url(
            {"challenge": _found(r'data-challenge="([^"]+)"', page)}, "challenge"
        )
        given = self.key.answer(challenge)
        sent = {
            "csrf": self.csrf,
            "confirm": form.get("model", ""),
            "credential": base64url(self.key.passkey.credential),
            "authenticator_data": base64url(given.authenticator_data),
            "client_data": base64url(given.client_data),
            "signature": base64url(given.signature),
        }
        answer = self.browser.post(_found(r'action="(/sign/[^"]+)"', page), data=sent)
        if answer.status_code != 303:
            raise SystemExit(f"{action}: {answer.text}")
        return str(answer.headers["location"])


def _found(pattern: str, page: str) -> str:
    found = re.search(pattern, page)
    if found is None:
        raise SystemExit(f"the page has no {pattern}")
    return found[1]


def signed_in(stage: Stage, person: str) -> httpx2.Client:
    """A browser with a session of the person."""
    link = str(stage.command("console", "link", person)).strip()
    origin = link.partition("/links/")[0]
    browser = httpx2.Client(base_url=origin, headers={"Origin": origin}, timeout=600)
    cookie = browser.post(link).raise_for_status().headers["set-cookie"]
    browser.headers["cookie"] = cookie.partition(";")[0]
    browser.cookies.clear()
    return browser


def signers(stage: Stage) -> dict[str, SigningPerson]:
    """The people who sign, each with a passkey that the policy lists."""
    found = {}
    for name in SIGNERS:
        browser = signed_in(stage, name)
        key = Authenticator(name, rp_id="localhost", origin=str(browser.base_url).rstrip("/"))
        file = Path(stage.state, f"{name}-passkey.json")
        file.write_text(json.dumps(key.passkey.to_json()))
        draft = str(Path(stage.state, "policy-next.json"))
        stage.command("person", "passkey", name, str(file), "--accept", "--draft", draft)
        csrf = _found(r'name="csrf" value="([^"]+)"', browser.get("/sessions").text)
        found[name] = SigningPerson(browser, key, csrf)
    return found


def approve_to_live(
    stage: Stage, people: dict[str, SigningPerson], versions: list[int]
) -> list[float]:
    """Milliseconds from the last approval's page to a version that answers, for each of these."""
    taken = []
    for version in versions:
        words = ("model", "propose", "digits", str(version), "--json")
        proposal = str(stage.command(*words, person="publisher")["proposal"])
        people["approver-1"].sign("approve", proposal=proposal)
        began = time.perf_counter()
        people["approver-2"].sign("approve", proposal=proposal)
        move = {"proposal": proposal, "model": "digits", "alias": "production"}
        target = people["admin"].sign("promote", **move)
        told: Any = people["admin"].browser.get(f"{target}/events").raise_for_status().text
        if "event: end" not in told:
            raise SystemExit(f"version {version} did not come live: {told}")
        taken.append(1e3 * (time.perf_counter() - began))
    return taken


if __name__ == "__main__":
    main()
