"""A process that serves: which signals end it, what SIGHUP does, and how many files it may open.

SIGTERM and SIGINT have it end, once what is in progress is answered. SIGHUP reloads nothing:
certificates, keys and policies are read again when they change, and other settings need a restart.
So a service manager's or an operator's SIGHUP is logged, as Envoy does, and answers continue. In a
terminal it says that the terminal is gone, and ends the process like SIGTERM.
"""

import logging
import resource
import signal
import sys
import threading
from collections.abc import Callable

_log = logging.getLogger(__name__)


def end_event() -> threading.Event:
    """An event that is set once this process is to end. Must be called in the main thread."""
    ending = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ending.set())
    on_hangup(ending.set)
    return ending


def on_hangup(end: Callable[[], object]) -> None:
    """Have SIGHUP call `end` where this process was started in a terminal, and else be logged."""
    if sys.stdin is not None and sys.stdin.isatty():
        signal.signal(signal.SIGHUP, lambda *_: end())
    else:
        signal.signal(signal.SIGHUP, lambda *_: _stay())


def raise_file_limit() -> None:
    """Use all the file descriptors that this process may have, for files and connections."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _stay() -> None:
    _log.warning(
        "SIGHUP reloads nothing: certificates, keys and policies are read when they change; "
        "for other settings, restart"
    )
