"""Checks that the documents of this pack are those that the registry's log holds, all of them.

    python3 check/entries.py [--registry-log]

With the option it only says which folder that log is in. Run it in the pack's folder. It needs
nothing but Python, and believes the log, which `logs.go` checks, and the policies, which
`envelopes.py` does.
"""

import base64
import hashlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path

POLICIES = [
    json.loads(base64.b64decode(json.loads(path.read_text())["payload"]))
    for path in sorted(Path("policies").glob("*.dsse.json"), key=lambda path: int(path.name[:-10]))
]

REPLIES = ("approval.added", "proposal.rejected", "proposal.withdrawn", "comment.added")


def digest(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


def require(holds: bool, text: object) -> None:
    if not holds:
        sys.exit(f"does not hold: {text}")


def registry_log() -> Path:
    """The folder of the log that the newest policy names as the registry's."""
    named = {key for policy in POLICIES for key in policy["logs"]["answers"]}
    named |= {policy["logs"]["registry"] for policy in POLICIES}
    keys = {path: path.read_text().split("\n")[0] for path in Path("keys/logs").glob("*.vkey")}
    for path, key in keys.items():
        require(key in named, path)
    found = [path.stem for path, key in keys.items() if key == POLICIES[-1]["logs"]["registry"]]
    require(len(found) == 1, "one registry's log")
    return Path("logs", found[0])


def leaves(log: Path) -> Iterator[bytes]:
    """The bytes of each entry of a log, in order."""
    size = int((log / "checkpoint").read_text().split("\n")[1])
    for index in range(0, size, 256):
        groups, rest = [f"{index // 256 % 1000:03}"], index // 256 // 1000
        while rest:
            groups.insert(0, f"x{rest % 1000:03}")
            rest //= 1000
        partial = f".p/{size - index}" if size - index < 256 else ""
        data = (log / "tile/entries" / ("/".join(groups) + partial)).read_bytes()
        while data:
            length = int.from_bytes(data[:2], "big")
            yield data[2 : 2 + length]
            data = data[2 + length :]


def check_keys() -> None:
    """Every key is one of the policies', under its own id."""
    listed = {keyid: pem for policy in POLICIES for keyid, pem in policy["keys"].items()}
    for path in Path("keys").glob("*.pem"):
        require(listed.get(path.stem) == path.read_text(), path)
    for path in Path("models").glob("*/versions/*/publisher.pem"):
        require(path.read_text() in listed.values(), path)


def check_version(folder: Path, body: dict) -> None:
    manifest = (folder / "manifest.json").read_bytes()
    require(digest(manifest) == body["manifest"] == body["digest"], folder / "manifest.json")
    require(digest((folder / "model.sig").read_bytes()) == body["signature"], folder / "model.sig")
    evidence = sorted((folder / "evidence").glob("*.dsse.json"))
    require(sorted(digest(p.read_bytes()) for p in evidence) == sorted(body["evidence"]), folder)
    payloads = [base64.b64decode(json.loads(p.read_text())["payload"]) for p in evidence]
    for name in ("mlbom.json", "screening.json"):
        if (folder / name).exists():
            plain = (folder / name).read_bytes()
            require(any(plain in payload for payload in payloads), folder / name)
    for path in (folder / "attached").glob("*.dsse.json"):
        beside = path.with_name(path.name.replace(".dsse", ""))
        payload = base64.b64decode(json.loads(path.read_text())["payload"])
        require(beside.read_bytes() in payload, beside)
    if (folder / "files").is_dir():
        named = {file["path"]: file["digest"] for file in json.loads(manifest)["files"]}
        there = {p.name: digest(p.read_bytes()) for p in (folder / "files").iterdir()}
        require(named == there, folder / "files")


def main() -> None:
    check_keys()
    log = [json.loads(data) for data in leaves(registry_log())]
    models = {path.name for path in Path("models").iterdir()}
    documents = {digest(p.read_bytes()): p for p in Path(".").rglob("*.dsse.json")}
    bundles = {digest(p.read_bytes()): p for p in Path("models").rglob("bundle.json")}
    named = {d for entry in log for d in entry["body"].get("evidence", ())}
    proposals = set()
    for index, entry in enumerate(log):
        event, body, place = entry["event"], entry["body"], entry["subject"].split("/")
        of_models = place[0] == "models" and place[1] in models
        if event == "version.registered" and of_models:
            check_version(Path(*place), body)
        elif event == "pointer.moved" and of_models:
            require(body["bundle"] in bundles, f"the pointer of entry {index}")
            require(digest_of_payload(bundles[body["bundle"]]) == body["pointer"], f"entry {index}")
            named.add(body["bundle"])
        elif event == "proposal.created" and of_models:
            require(body["envelope"] in documents, f"the proposal of entry {index}")
            proposals.add(body["proposal"])
        elif event in REPLIES and place[1] in proposals:
            require(body["envelope"] in documents, f"the {event} of entry {index}")
        elif event in ("evidence.attached", "request.allowed") and of_models:
            require(body["envelope"] in documents, f"the document of entry {index}")
        elif event == "policy.accepted":
            require(body["envelope"] in documents, f"the policy of entry {index}")
        named.add(body.get("envelope"))
    for found, path in {**documents, **bundles}.items():
        require(found in named or path.name == "pointer.dsse.json", f"{path} is in no entry")
    print(f"{len(log)} entries; {len(documents)} signed documents, each of them in the log")


def digest_of_payload(bundle: Path) -> str:
    """Of the pointer in a bundle, which stands beside it as an envelope of its own."""
    pointer = json.loads(bundle.read_text())["pointer"]
    beside = json.loads((bundle.parent / "pointer.dsse.json").read_text())
    require(pointer == beside, bundle.parent / "pointer.dsse.json")
    return digest(base64.b64decode(pointer["payload"]))


if __name__ == "__main__":
    try:
        print(registry_log()) if sys.argv[1:] == ["--registry-log"] else main()
    except (ValueError, KeyError, TypeError, IndexError, OSError) as error:
        sys.exit(f"does not hold: {type(error).__name__} {error}")
