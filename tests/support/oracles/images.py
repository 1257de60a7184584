"""Container images without an engine: built by buildah on a root that mmdebstrap makes of Debian's
packages, and run from their unpacked roots by bubblewrap, as compose would run them.

From the environment, beside what `deploy/container/base.sh` and `build.sh` read:

    IMAGE_STORE    where images are kept between runs; without it, nothing is left
    IMAGE_BUILT    1: the image that is kept is run, and not built again
"""

import json
import os
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.oracles.programs import ROOT, program

DEPLOY = ROOT / "deploy"
BASE = "localhost/sealgate-base"
STATE = Path("/var/lib/sealgate")
# A build downloads torch.
_PATIENCE = 3600.0
# In memory, while a container runs; STATE is closed once what compose mounts is in it.
_WRITABLE = ("/tmp", str(STATE))  # noqa: S108
# This machine's settings of pip, which a build needs as well.
_PIP = ("/etc/ssl/certs/ca-certificates.crt", "/etc/pip.conf", "/etc/xdg/pip")


@dataclass(frozen=True, slots=True)
class ImageRoot:
    """The unpacked `root` of an image, and `config`, which says how a container of it is run."""

    root: Path
    config: Mapping[str, Any]

    @property
    def packages(self) -> Path:
        """Where its Python finds what was installed."""
        (found,) = self.root.glob("opt/sealgate/lib/python*/site-packages")
        return found

    def started(self, words: Sequence[str], binds: Sequence[str] = ()) -> list[str]:
        """The command that runs the image's entry point with these words, as `inside` does."""
        return self.inside([*self.config["Entrypoint"], *words], binds)

    def by_person(self, words: Sequence[str], state: Path) -> list[str]:
        """The command that runs the image's entry point for a person of the installation in
        `state`: with all of it, and a network to this machine's gateway.
        """
        mounted = ["--bind", str(state), str(STATE), "--ro-bind", "/etc/hosts", "/etc/hosts"]
        return self._run([*self.config["Entrypoint"], *words], ["--share-net"], mounted)

    def inside(self, command: Sequence[str], binds: Sequence[str] = ()) -> list[str]:
        """The command that runs another in the root: as the image's user, with its environment
        alone, without a network or capabilities, and with nothing to write to but /tmp and `binds`.
        """
        return self._run(command, [], [*binds, "--remount-ro", str(STATE)])

    def _run(self, command: Sequence[str], shared: list[str], mounted: list[str]) -> list[str]:
        user, group = self.config["User"].split(":")
        told = [part for pair in self.config["Env"] for part in ("--setenv", *pair.split("=", 1))]
        return [
            program("bwrap"),
            *("--unshare-all", *shared, "--uid", user, "--gid", group, "--cap-drop", "ALL"),
            *("--ro-bind", str(self.root), "/", "--proc", "/proc", "--dev", "/dev"),
            *(part for place in _WRITABLE for part in ("--tmpfs", place)),
            *mounted,
            *("--chdir", self.config["WorkingDir"]),
            *("--clearenv", *told, "--die-with-parent", "--new-session", "--"),
            *command,
        ]


def mounts(service: str, state: Path) -> list[str]:
    """The paths that compose mounts into a service, of an installation in `state`."""
    services = yaml.safe_load((DEPLOY / "compose.yml").read_text())["services"]
    found = []
    for volume in services[service]["volumes"]:
        source, place, *mode = volume.replace("${SEALGATE_STATE}", str(state)).split(":")
        found += ["--ro-bind" if mode == ["ro"] else "--bind", source, place]
    return found


@contextmanager
def built(image: str, folder: Path) -> Iterator[ImageRoot]:
    """Builds an image that `build.sh` knows; in `folder` lies what was built, unless IMAGE_STORE
    names another. Skips where that cannot be done.
    """
    for name in ("buildah", "mmdebstrap", "bwrap"):
        program(name)
    if os.geteuid():
        pytest.skip("only root makes a root")
    store = Path(os.environ.get("IMAGE_STORE", folder))
    settings = folder / "storage.conf"
    places = f'graphroot = "{store}/images"\nrunroot = "{store}/run"\n'
    settings.write_text(f'[storage]\ndriver = "{_driver()}"\n{places}')
    environment = {**os.environ, "CONTAINERS_STORAGE_CONF": str(settings)}

    def told(*command: str | Path, **more: str) -> str:
        done = subprocess.run(
            command, env={**environment, **more}, capture_output=True, text=True, timeout=_PATIENCE
        )
        assert done.returncode == 0, done.stderr[-4000:]
        return done.stdout.strip()

    if os.environ.get("IMAGE_BUILT") != "1":
        if BASE not in told("buildah", "images", "--format", "{{.Name}}").splitlines():
            told(DEPLOY / "container" / "base.sh", BASE)
        flags = f"{_flags()} {os.environ.get('BUILD_FLAGS', '')}"
        script = DEPLOY / "container" / "build.sh"
        told(script, image, BUILDER="buildah", BASE=BASE, BUILD_FLAGS=flags)
    container = told("buildah", "from", "--pull-never", f"localhost/sealgate:{image}")
    try:
        document = json.loads(told("buildah", "inspect", container))
        root = Path(told("buildah", "mount", container))
        yield ImageRoot(root, document["Docker"]["config"])
    finally:
        told("buildah", "rm", container)


def _driver() -> str:
    """A store that shares layers where the kernel has one."""
    return "overlay" if "overlay" in Path("/proc/filesystems").read_text() else "vfs"


def _flags() -> str:
    mounted = [f"--volume={path}:{path}:ro" for path in _PIP if Path(path).exists()]
    # A container's Python closes each file that it may have, so there must not be a billion.
    limits = ("--ulimit=nofile=20000:20000", "--ulimit=nproc=4096:4096")
    return " ".join(["--isolation=chroot", "--network=host", *limits, *mounted])
