"""Whether this system lets a process have namespaces of its own, found without our code."""

import functools
import subprocess
import sys

# Of users (unless root) and mounts; a file system in memory; users again.
_PROBE = """
import ctypes, os
libc = ctypes.CDLL(None)
user = os.geteuid()
assert libc.unshare(0x20000 | (0 if user == 0 else 0x10000000)) == 0
if user:
    open("/proc/self/uid_map", "w").write(f"{user} {user} 1")
assert libc.mount(None, b"/", None, ctypes.c_ulong(0x4000 | 1 << 18), None) == 0
assert libc.mount(b"none", b"/tmp", b"tmpfs", ctypes.c_ulong(0), None) == 0
assert libc.unshare(0x10000000) == 0
"""


@functools.cache
def allowed() -> bool:
    done = subprocess.run([sys.executable, "-c", _PROBE], capture_output=True, check=False)
    return done.returncode == 0
