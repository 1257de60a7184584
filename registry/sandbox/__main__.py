"""The worker's process: `python -m registry.sandbox TASK LIMITS UNSAFE`.

1. Bound this process, and take its files away.
2. Import the task with all that it needs: trusted code, nothing of the model.
3. Take away what is left: network, processes.
4. Read the request from standard input, and run the task; its answers go out as frames.
"""

import errno
import importlib
import os
import sys
import tempfile
from pathlib import Path
from typing import IO

from registry.sandbox import frames
from registry.sandbox.confinement import SandboxLimits, confine_calls, confine_files, silence
from sealgate.reasons import Reason, SealgateError

# What C++ libraries say where memory runs out; their exceptions arrive as others' refusals.
_OUT_OF_MEMORY = ("bad_alloc", "bad allocation", "Failed to allocate memory", "Out of memory")
_NOT_ITS_OWN = (errno.EACCES, errno.EPERM, errno.ENOENT, errno.EROFS)
# What Python and C++ libraries say where no thread can be started.
_OUT_OF_THREADS = ("can't start new thread", "Resource temporarily unavailable")


def main() -> None:
    name, bounds, unsafe = sys.argv[1:]
    limits = SandboxLimits.parse(bounds)
    answers = _take_output()
    try:
        # 1.
        nowhere = os.open(os.devnull, os.O_WRONLY)
        missing = confine_files(limits, Path(tempfile.gettempdir()), unsafe == "1")
        # 2.
        module, function = name.split(":")
        task = getattr(importlib.import_module(module), function)
        # 3.
        silence(nowhere)
        missing += confine_calls(unsafe == "1")
        frames.write_frame(answers, frames.CONFINED, frames.encode_missing(missing))
        # 4.
        request = sys.stdin.buffer.read()
        task(request, lambda data: frames.write_frame(answers, frames.DATA, data))
    except Exception as error:
        frames.write_frame(answers, frames.REFUSAL, frames.encode_refusal(_refusal(error)))
    else:
        frames.write_frame(answers, frames.END)
    # Nothing is left to tidy, and a library's farewell must not undo a good end.
    os._exit(0)


def _take_output() -> IO[bytes]:
    """Standard output, for frames alone: what libraries print goes to standard error."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    return answers


def _refusal(error: Exception) -> SealgateError:
    if isinstance(error, MemoryError) or any(text in str(error) for text in _OUT_OF_MEMORY):
        return SealgateError(Reason.WORKER_LIMIT, "memory")
    if any(text in str(error) for text in _OUT_OF_THREADS):
        return SealgateError(Reason.WORKER_LIMIT, "the number of threads")
    if isinstance(error, OSError) and error.errno in (errno.EFBIG, errno.ENOSPC):
        return SealgateError(Reason.WORKER_LIMIT, "the size of a file")
    # Files outside its view are not there, and nothing but its scratch folder can be written.
    if isinstance(error, OSError) and error.errno in _NOT_ITS_OWN:
        return SealgateError(Reason.WORKER_FORBIDDEN, str(error))
    if isinstance(error, SealgateError):
        return error
    return SealgateError(Reason.WORKER_FAILED, type(error).__name__)


if __name__ == "__main__":
    main()
