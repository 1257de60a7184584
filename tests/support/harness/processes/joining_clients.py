"""Clients of a federation, each `sealgate federate join` in a process of its own, and in a network
of its own where one is named; run by the Python that has Flower.

    python -m tests.support.harness.processes.joining_clients FOLDER

FOLDER/clients.json has for each client the words of its command, and the name of its network or "".
Its output goes to FOLDER/NNN.out and .err, its process's number to NNN.pid, and when it has ended,
its exit status to NNN.status. They are forked, so that torch is loaded once.
"""

import ctypes
import json
import multiprocessing
import os
import sys
from pathlib import Path

from flwr.supercore.app_utils import start_parent_process_monitor

from training.federated import commands, join  # noqa: F401, the latter to be forked with

_NETWORK = 0x40000000
_NETWORKS = Path("/run/netns")


def main(folder: Path) -> None:
    context, own = multiprocessing.get_context("fork"), os.getpid()
    told = json.loads((folder / "clients.json").read_text())
    forks = [
        context.Process(target=_fork, args=(folder / f"{at:03d}", words, network, own))
        for at, (words, network) in enumerate(told)
    ]
    for fork in forks:
        fork.start()
    for fork in forks:
        fork.join()


def _fork(place: Path, words: list[str], network: str, parent: int) -> None:
    start_parent_process_monitor(parent)
    if network:
        with (_NETWORKS / network).open() as entered:
            if ctypes.CDLL(None, use_errno=True).setns(entered.fileno(), _NETWORK):
                raise OSError(ctypes.get_errno(), "setns")
    place.with_suffix(".pid").write_text(str(os.getpid()))
    for name, number in ((".out", 1), (".err", 2)):
        os.dup2(os.open(place.with_suffix(name), os.O_WRONLY | os.O_CREAT), number)
    status = 1
    try:
        commands.federate(words, standalone_mode=True)
    except SystemExit as end:
        status = int(end.code or 0)
    finally:
        place.with_suffix(".status").write_text(str(status))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
