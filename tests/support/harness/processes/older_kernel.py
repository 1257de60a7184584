"""`python -m tests.support.harness.processes.older_kernel CALL UNSAFE`: a worker on a kernel
without a system call.

The call fails with ENOSYS from here on; then a worker is started, and what comes of it is printed.
"""

import ctypes
import errno
import struct
import sys

from registry.sandbox import process, syscalls
from registry.sandbox.confinement import SandboxLimits
from sealgate.reasons import SealgateError


def forget(number: int) -> None:
    """Make one system call fail as on a kernel that does not know it."""
    steps = ((0x20, 0, 0, 0), (0x15, 0, 1, number), (0x06, 0, 0, 0x50000 | errno.ENOSYS))
    code = b"".join(struct.pack("=HBBI", *step) for step in (*steps, (0x06, 0, 0, 0x7FFF0000)))
    buffer = ctypes.create_string_buffer(code, len(code))
    head = struct.pack("=HxxxxxxQ", len(code) // 8, ctypes.addressof(buffer))
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(38, 1, 0, 0, 0) or libc.prctl(22, 2, head, 0, 0):
        raise OSError(ctypes.get_errno(), "no filter")


def main() -> None:
    call, unsafe = sys.argv[1:]
    column = syscalls.machine().column
    known = {name: number[column] for name, number in syscalls.FATAL.items()}
    known |= {"landlock": 444, "seccomp": syscalls.SECCOMP[column]}
    number = known[call]
    assert number is not None
    forget(number)
    try:
        limits = SandboxLimits(memory=2 << 30, seconds=60)
        with process.start(
            "hostile_tasks:use_scratch", b"heard", limits, unsafe=unsafe == "unsafe"
        ) as worker:
            print(worker.receive(100).decode())
            worker.finish()
    except SealgateError as refusal:
        print(refusal.reason.name)


if __name__ == "__main__":
    main()
