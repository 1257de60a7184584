"""Checks that each log of this pack extends every anchor of it, and that no log is missing.

    python3 check/anchors.py [ORIGIN ...]

An anchor is a log's signed checkpoint in an entry of the registry's log. Run it in the pack's
folder; it needs nothing but Python. Every log that a policy ever named must be here, but for those
that you name, which you check in another pack. That the logs' keys signed, `logs.go` checks.
"""

import base64
import hashlib
import json
import sys
from pathlib import Path

from entries import (  # type: ignore[import-not-found]
    POLICIES,
    leaves,
    registry_log,
    require,
)


def named() -> dict:
    """The folder of each log that a policy names, by origin; None where it is not here."""
    keys = {key for policy in POLICIES for key in policy["logs"]["answers"]}
    keys |= {policy["logs"]["registry"] for policy in POLICIES}
    here = {
        path.read_text().split("\n")[0]: Path("logs", path.stem)
        for path in Path("keys/logs").glob("*.vkey")
    }
    # Of a log whose key was replaced, the present one decides.
    return {key.split("+")[0]: here.get(key) for key in sorted(keys, key=here.__contains__)}


def anchors(registry: Path) -> dict:
    """The anchors of each log by origin: index of the entry, size, and root."""
    found: dict = {}
    for index, data in enumerate(leaves(registry)):
        entry = json.loads(data)
        if entry["event"] == "answers.anchored":
            origin, size, root = entry["body"]["checkpoint"].split("\n")[:3]
            require(entry["subject"] == f"logs/{origin}", f"the anchor of entry {index}")
            require(int(size) == entry["body"]["size"], f"the anchor of entry {index}")
            found.setdefault(origin, []).append((index, int(size), base64.b64decode(root)))
    return found


def node(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(b"\x01" + left + right).digest()


def roots(log: Path, sizes: set) -> dict:
    """The root of the first so many entries, for each of the sizes (RFC 9162, 2.1)."""
    peaks: list = []
    found = {0: hashlib.sha256(b"").digest()}
    for index, data in enumerate(leaves(log)):
        peaks.append(hashlib.sha256(b"\x00" + data).digest())
        # A complete subtree ends wherever the number of entries has a trailing zero bit.
        size = index + 1
        while size % 2 == 0:
            right = peaks.pop()
            peaks[-1] = node(peaks[-1], right)
            size //= 2
        if index + 1 in sizes:
            root = peaks[-1]
            for peak in reversed(peaks[:-1]):
                root = node(peak, root)
            found[index + 1] = root
    return found


def main(elsewhere: list) -> None:
    logs, anchored = named(), anchors(registry_log())
    for origin in anchored:
        require(origin in logs, f"an anchor of {origin}, which no policy names")
    missing = []
    for origin, log in sorted(logs.items()):
        wanted = anchored.get(origin, [])
        newest = max((size for _, size, _ in wanted), default=0)
        if log is None:
            print(f"{origin}: not here; {len(wanted)} anchors, the newest of {newest} entries")
            missing += [origin] if origin not in elsewhere else []
            continue
        found = roots(log, {size for _, size, _ in wanted})
        for index, size, root in wanted:
            require(
                found.get(size) == root, f"{origin} does not extend the anchor of entry {index}"
            )
        print(f"{origin}: extends {len(wanted)} anchors, the newest of {newest} entries")
    require(not missing, f"these logs are not in this pack: {', '.join(missing)}")


try:
    main(sys.argv[1:])
except (ValueError, KeyError, TypeError, IndexError, OSError) as error:
    sys.exit(f"does not hold: {type(error).__name__} {error}")
