"""`python -m tests.support.harness.processes.plain_user`: a worker's confinement for a user who is
not root.

Started by root, it takes the user `nobody`, who may be unable to read our libraries: so all that is
needed is imported before. Prints JSON: what is missing, which of some paths exist, how many threads
there can be, and whether the scratch folder can be written.
"""

import ctypes
import importlib
import json
import os
import sys
import sysconfig
import tempfile
import threading
import time
from pathlib import Path

from registry.sandbox import confinement

NOBODY = 65534
THREADS = 8
_PR_SET_DUMPABLE = 4


def main() -> None:
    scratch = Path(tempfile.mkdtemp())
    for name in ("inference", "publishing"):
        importlib.import_module(name)
    sysconfig.get_config_vars()
    if os.getuid() == 0:
        os.chown(scratch, NOBODY, NOBODY)
        os.setgroups([])
        os.setresgid(NOBODY, NOBODY, NOBODY)
        os.setresuid(NOBODY, NOBODY, NOBODY)
        # As after execve; otherwise /proc/self is still of root.
        ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 1, 0, 0, 0)
    limits = confinement.SandboxLimits(threads=THREADS)
    found = {"missing": confinement.confine_files(limits, scratch, unsafe=True)}
    found["seen"] = [path for path in sys.argv[1:] if os.path.lexists(path)]
    (scratch / "file").write_text("mine")
    found["written"] = (scratch / "file").read_text()
    try:
        while threading.active_count() < 10 * THREADS:
            threading.Thread(target=time.sleep, args=(60,), daemon=True).start()
    except RuntimeError:
        pass
    print(json.dumps({**found, "threads": threading.active_count()}), flush=True)
    os._exit(0)


if __name__ == "__main__":
    main()
