"""rsyslog, which takes messages over TLS and writes each as one JSON object a line."""

import json
import subprocess
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from demo.stage import free_ports
from sealgate.setup.credentials import CertificateAuthority
from tests.support.oracles import programs

_SECONDS = 60.0
_CONFIGURATION = """\
global(workDirectory="{folder}" defaultNetstreamDriver="ossl"
  defaultNetstreamDriverCAFile="{folder}/authority.pem"
  defaultNetstreamDriverCertFile="{folder}/server.pem"
  defaultNetstreamDriverKeyFile="{folder}/server.key")
module(load="imtcp" streamDriver.name="ossl" streamDriver.mode="1" streamDriver.authMode="anon")
template(name="fields" type="list" option.jsonf="on") {{
  property(outname="priority" name="pri" format="jsonf")
  property(outname="time" name="timereported" dateFormat="rfc3339" format="jsonf")
  property(outname="host" name="hostname" format="jsonf")
  property(outname="program" name="app-name" format="jsonf")
  property(outname="kind" name="msgid" format="jsonf")
  property(outname="message" name="msg" format="jsonf")
}}
input(type="imtcp" address="127.0.0.1" port="{port}")
action(type="omfile" file="{folder}/taken" template="fields")
"""


class RsyslogServer:
    """A running server; `authority` is the file that its certificate comes from."""

    def __init__(self, folder: Path) -> None:
        self._program = programs.program("rsyslogd")
        self._folder = folder
        authority = CertificateAuthority("syslog", datetime.now(UTC), timedelta(days=1))
        server = authority.server("localhost", ("localhost",))
        self.authority = folder / "authority.pem"
        self.authority.write_bytes(authority.pem)
        (folder / "server.pem").write_bytes(server.certificate)
        (folder / "server.key").write_bytes(server.key)
        self._port = free_ports()
        self.address = f"localhost:{self._port}"
        (folder / "rsyslog.conf").write_text(_CONFIGURATION.format(folder=folder, port=self._port))
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    def start(self) -> None:
        """Start it. It listens soon after."""
        folder = self._folder
        words = ["-n", "-f", str(folder / "rsyslog.conf"), "-i", str(folder / "pid")]
        with (folder / "log").open("ab") as log:
            self._process = subprocess.Popen([self._program, *words], stdout=log, stderr=log)

    def stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait(_SECONDS)
            self._process = None

    def taken(self, count: int) -> list[dict[str, Any]]:
        """The messages that it has taken, once they are so many."""
        deadline = time.monotonic() + _SECONDS
        while True:
            path = self._folder / "taken"
            lines = path.read_text().splitlines() if path.exists() else []
            if len(lines) >= count:
                return [json.loads(line) for line in lines]
            if time.monotonic() > deadline:
                raise TimeoutError((self._folder / "log").read_text() or str(lines))
            time.sleep(0.02)
