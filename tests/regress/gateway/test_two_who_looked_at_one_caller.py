"""An HTTP call's caller was looked at by two threads, the one that answers and the one that notices
who has gone; where both did so at once, one of them raised. It was the noticing one's end, after
which no caller's going was noticed, or the other's answer became INTERNAL.
"""

import socket
import threading
import time

from gateway.transport.http.peer import Peer


def test_any_number_may_look() -> None:
    ours, theirs = socket.socketpair()
    peer, end, errors = Peer(ours, None), time.monotonic() + 0.5, []

    def look() -> None:
        try:
            while time.monotonic() < end:
                assert peer.is_there()
        except RuntimeError as error:
            errors.append(error)

    threads = [threading.Thread(target=look) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    ours.close()
    theirs.close()
    assert errors == []
