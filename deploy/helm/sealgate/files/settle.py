"""Lays out an installation in a pod: settle.py SOURCES STATE.

Kubernetes shows secrets to the pod's whole group, and Sealgate takes no key that others than its
owner can read. So what SOURCES holds, one folder for each secret, is copied to STATE with mode
0600; of the keys of answer logs, this pod's alone. In the *.toml of SOURCES/config, ${ORDINAL} is
the pod's number and ${DATABASE_URL} the database's URL, as a TOML string.
"""

import json
import os
import string
import sys
from pathlib import Path


def main() -> None:
    sources, state = Path(sys.argv[1]), Path(sys.argv[2])
    ordinal = os.environ["POD_NAME"].rpartition("-")[2]
    known = {"ORDINAL": ordinal, "DATABASE_URL": json.dumps(os.environ.get("DATABASE_URL", ""))}
    for source in sorted(sources.glob("*/*")):
        # Names that begin with dots are Kubernetes' own: it exchanges secrets behind them.
        if source.name.startswith("..") or not source.is_file():
            continue
        if source.parent.name == "config":
            if source.suffix == ".toml":
                text = string.Template(source.read_text()).substitute(known)
                write(state / source.name, text.encode())
        elif not source.name.startswith("answers-") or source.stem == f"answers-{ordinal}":
            write(state / source.parent.name / source.name, source.read_bytes())


def write(path: Path, data: bytes) -> None:
    path.parent.mkdir(mode=0o700, exist_ok=True)
    path.unlink(missing_ok=True)
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(data)


if __name__ == "__main__":
    main()
