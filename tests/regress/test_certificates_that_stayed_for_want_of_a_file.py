"""Where new certificates could not be loaded for want of a file descriptor, HTTP took them for
loaded: it served the old ones, and trusted the old callers' authority, from then on.
"""

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from gateway.config.sections import Tls
from gateway.transport.http.tls import HttpTls
from gateway.transport.tls import ServerTls
from sealgate.setup.certificates import Authority


def written(folder: Path) -> Tls:
    authority = Authority("servers", datetime.now(UTC), timedelta(days=1))
    pair = authority.server("gateway", ("localhost",))
    for name, content in (("server.pem", pair.certificate), ("server.key", pair.key)):
        (folder / "new").write_bytes(content)
        (folder / "new").replace(folder / name)
    return Tls(folder / "server.pem", folder / "server.key")


def test_the_next_handshake_tries_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def none_left(*_: Any) -> int:
        raise OSError(24, "Too many open files")

    tls = HttpTls(ServerTls(written(tmp_path)))
    old = tls.context
    written(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(os, "memfd_create", none_left)
        with pytest.raises(OSError, match="Too many"):
            _ = tls.context
    assert tls.context is not old
