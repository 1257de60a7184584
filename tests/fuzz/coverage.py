"""Which lines of a parser its corpus reaches."""

import importlib
import inspect
import sys
from collections.abc import Iterator
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

from tests.fuzz.harness import Harness


def line_coverage(harness: Harness) -> dict[str, tuple[int, int]]:
    """By module: how many lines of its functions the corpus runs, and how many they have."""
    modules = [importlib.import_module(name) for name in harness.modules]
    files = {str(inspect.getsourcefile(module)): module.__name__ for module in modules}
    hit: set[tuple[str, int]] = set()

    def trace(frame: FrameType, event: str, _argument: Any) -> Any:
        if frame.f_code.co_filename not in files:
            return None
        if event == "line":
            hit.add((frame.f_code.co_filename, frame.f_lineno))
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        for data in harness.corpus():
            harness.run(data)
    finally:
        sys.settrace(before)
    found = {}
    for file, name in files.items():
        lines = set(_lines(compile(Path(file).read_bytes(), file, "exec"), top=True))
        found[name] = (len({line for path, line in hit if path == file} & lines), len(lines))
    return found


def _lines(code: CodeType, *, top: bool = False) -> Iterator[int]:
    """The lines of functions; those of modules and classes run when they are imported."""
    for inner in code.co_consts:
        if isinstance(inner, CodeType):
            yield from _lines(inner)
    if not top and code.co_flags & inspect.CO_OPTIMIZED:
        yield from (line for _, _, line in code.co_lines() if line and line != code.co_firstlineno)
