"""The auditor's pack, checked as its README says: by other people's programs alone."""

import functools
import re
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from sealgate.pack.documents import SUMS
from sealgate.private_keys import open_signer
from sealgate.trust.policy import EvidenceRules
from sealgate.trust.statements import Evidence, sign_statement
from sealgate.trust.times import format_time
from sealgate.v1.registry_pb2 import GetVersionRequest
from tests.support.harness.gateway import GatewayHarness, now, question, rows
from tests.support.oracles.pack import PackReader, commands

REGISTRY, ANSWERS = "logs/house_localhost_registry", "logs/house_localhost_answers"
# A file of each kind in the pack, and whether it is signed: whether one who puts the sums right
# again is found out all the same.
KINDS = {
    f"{REGISTRY}/checkpoint": True,
    f"{REGISTRY}/tile/0/000.p/*": True,
    f"{REGISTRY}/tile/entries/000.p/*": True,
    f"{ANSWERS}/checkpoint": True,
    f"{ANSWERS}/tile/0/000": True,
    f"{ANSWERS}/tile/1/000.p/1": True,
    f"{ANSWERS}/tile/entries/000": True,
    f"{ANSWERS}/tile/entries/001.p/*": True,
    "keys/logs/*_answers.vkey": True,
    "keys/*.pem": True,
    "policies/1.dsse.json": True,
    "models/digits/versions/1/manifest.json": True,
    "models/digits/versions/1/model.sig": True,
    "models/digits/versions/1/subject": True,
    "models/digits/versions/1/publisher.pem": True,
    "models/digits/versions/1/mlbom.json": True,
    "models/digits/versions/1/evidence/golden-run.dsse.json": True,
    "models/digits/versions/1/attached/red-team-*.dsse.json": True,
    "models/digits/versions/1/files/model.int8.onnx": True,
    "models/digits/versions/1/files/model.json": True,
    "models/digits/proposals/*/proposal.dsse.json": True,
    "models/digits/proposals/*/approvals/approver-1.dsse.json": True,
    "models/digits/aliases/production/1/pointer.dsse.json": True,
    "models/digits/aliases/production/1/bundle.json": True,
    "models/digits/revocations/2.dsse.json": True,
    "check/logs.go": False,
    "check/no-roots.json": False,
    "README.md": False,
    "pack.json": False,
    SUMS: False,
}


@pytest.fixture(scope="module")
def reader() -> PackReader:
    return PackReader()


@pytest.fixture(scope="module")
def harness(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayHarness]:
    """Two versions; one move, one revocation; more answers than a tile holds, some anchored."""
    harness = GatewayHarness(tmp_path_factory.mktemp("pack") / "state")
    with (harness.state / "gateway.toml").open("a") as file:
        # However long it takes, the log is anchored once.
        file.write("\n[limits]\nanchor_every = 3600.0\n")
    harness.start()
    try:
        for folder in ("digits-standard", "digits-hardened"):
            harness.publish(folder, "digits")
        attach(harness)
        harness.promote("digits", 1)
        harness.governance("admin").revoke("digits", 2, "never to be used")
        ask(harness, 260)
        # A gateway that stops anchors its answer log.
        harness.stop()
        harness.start()
        harness.await_version("digits", 1)
        ask(harness, 5)
        yield harness
    finally:
        harness.stop()


def attach(harness: GatewayHarness) -> None:
    """A red team's report, of an approver."""
    name, person = "models/digits/versions/1", harness.profile("approver-1")
    asked = GetVersionRequest(name=name)
    digest = harness.registry("approver-1").GetVersion(asked).version.digest
    assert person.signing_key is not None
    report = Evidence(
        EvidenceRules.RED_TEAM, digest, "approver-1", format_time(now()), {"attacks": {}}
    )
    envelope = sign_statement(report, open_signer(person.signing_key))
    harness.governance("approver-1").attach("digits", 1, envelope.encode())


def ask(harness: GatewayHarness, times: int) -> None:
    stub = harness.inference()
    for _ in range(times):
        stub.ModelInfer(question("digits", rows()), timeout=60)


@pytest.fixture(scope="module")
def pack(harness: GatewayHarness) -> Path:
    folder = harness.state.parent / "pack"
    result = harness.command("audit", "export", str(folder))
    assert result.exit_code == 0, result.output
    return folder


def test_other_peoples_programs_accept_the_pack(reader: PackReader, pack: Path) -> None:
    printed = reader.check(pack)
    assert "FAILED" not in printed, printed
    for text in (
        "approver-2  reviewed",
        "admin  never to be used",
        "signed documents, each of them in the log",
        "Verified OK",
        "Verification succeeded",
        "valid CycloneDX 1.6, with a model card",
    ):
        assert text in printed
    assert re.search(r" [1-9] anchors extended", printed)
    assert re.search(r"answers: extends [1-9] anchors", printed)
    assert len(commands(pack)) == 8


def test_the_pack_needs_none_of_our_code(pack: Path) -> None:
    for program in (pack / "check").iterdir():
        text = program.read_text()
        assert "import sealgate" not in text
        assert "from sealgate" not in text


def copied(pack: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(pack, tmp_path / "copy", copy_function=shutil.copy))


def flip(file: Path) -> None:
    """Changes a byte in the middle of what the file says."""
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)


@pytest.mark.parametrize("kind", KINDS)
def test_the_sums_show_every_changed_byte(
    reader: PackReader, pack: Path, tmp_path: Path, kind: str
) -> None:
    copy = copied(pack, tmp_path)
    flip(next(copy.glob(kind)))
    status, output = reader.run(copy, commands(pack)[0])
    assert status != 0, output


@pytest.mark.slow
@pytest.mark.parametrize("kind", [kind for kind, signed in KINDS.items() if signed])
def test_the_signatures_show_whoever_puts_the_sums_right(
    reader: PackReader, pack: Path, tmp_path: Path, kind: str
) -> None:
    copy = copied(pack, tmp_path)
    flip(next(copy.glob(kind)))
    again = f"find . -type f ! -name {SUMS} -printf '%P\\0' | sort -z | xargs -0 sha256sum > {SUMS}"
    assert reader.run(copy, again)[0] == 0
    printed = reader.check(copy)
    assert printed.startswith("FAILED"), printed
    assert "sha256sum" not in printed.splitlines()[0]


def test_a_document_that_is_left_out_is_missed(
    reader: PackReader, pack: Path, tmp_path: Path
) -> None:
    copy = copied(pack, tmp_path)
    next(copy.glob("models/digits/proposals/*/approvals/approver-2.dsse.json")).unlink()
    status, output = reader.run(copy, "python3 check/entries.py")
    assert status != 0
    assert "the approval.added of entry" in output
    next(copied(pack, tmp_path / "other").glob("models/*/versions/1/attached/*.dsse.json")).unlink()
    status, output = reader.run(tmp_path / "other" / "copy", "python3 check/entries.py")
    assert status != 0
    assert "the document of entry" in output


def test_any_web_server_serves_the_logs(
    reader: PackReader, harness: GatewayHarness, tmp_path: Path
) -> None:
    folder = tmp_path / "served"
    assert harness.command("log", "tiles", str(folder)).exit_code == 0
    old = Path(shutil.copytree(folder, tmp_path / "old"))
    ask(harness, 300)
    grown = harness.command("log", "tiles", str(folder), "--json")
    assert grown.exit_code == 0, grown.output
    assert '"new": 30' in grown.output
    harness.command("audit", "export", str(tmp_path / "pack"), "--without-files")
    with serving(folder) as url:
        for log in ("house_localhost_answers", "house_localhost_registry"):
            key = f"keys/logs/{log}.vkey"
            registry = f"{url}/house_localhost_registry"
            command = f"GO111MODULE=off GOPATH=/usr/share/gocode go run check/logs.go {key}"
            command += f" {url}/{log} {registry} {old / log}"
            status, output = reader.run(tmp_path / "pack", command)
            assert status == 0, output


@contextmanager
def serving(folder: Path) -> Iterator[str]:
    """The URL of a plain web server for a folder: what `python3 -m http.server` starts."""
    handler = functools.partial(_Quiet, directory=str(folder))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        pass
