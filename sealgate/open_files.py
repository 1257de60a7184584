"""How many files and connections a process may have open."""

import resource


def raise_file_limit() -> None:
    """Use all the file descriptors that this process may have."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
