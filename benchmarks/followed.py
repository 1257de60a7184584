"""The files that a request and a publication pass, for `python -m benchmarks.structure --trace`.

A file counts as soon as any function of it runs, so `Trace.files` are many: formats, options,
counters and what looks at them from time to time. Of these, `leading` call on into another file of
the product: the others only answer. `way` are the files on the call stack when the model's graph
runs, when the record is committed and when the answer leaves; of a publication, when a worker
starts, when the files are sent and when the version is committed. A reader who follows a request or
a publication down reads these.
"""

import sys
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

# Where calls and commands begin; other stacks are of what looks at the registry by itself.
_BEGINNINGS = ("gateway/transport/", "gateway/admission/", "publishing/cli/", "sealgate/cli/")
_ENDS = {
    ("inference/runtime/session.py", "run"),
    ("registry/log/tile_log.py", "append"),
    ("gateway/transport/native/front.py", "_respond"),
    ("registry/sandbox/process.py", "start"),
    ("sealgate/remote/uploads.py", "publish"),
    ("registry/state/unit_of_work.py", "commit"),
}
_REQUESTS = 5


@dataclass(slots=True)
class Trace:
    """The product's files that ran on this thread and on those that began while it was taken;
    named as of the folder in which the program runs.
    """

    tops: Sequence[str]
    files: set[str] = field(default_factory=set)
    leading: set[str] = field(default_factory=set)
    way: set[str] = field(default_factory=set)

    def clear(self) -> None:
        for each in (self.files, self.leading, self.way):
            each.clear()

    def note(self, frame: FrameType, event: str, _: Any) -> None:
        """A function was called; `sys.setprofile` calls this."""
        if event != "call" or not (name := self._name(frame)):
            return
        self.files.add(name)
        callers = self._callers(frame)
        # Library code may lie between.
        caller = next(callers, name)
        if caller != name:
            self.leading.add(caller)
        if (name, frame.f_code.co_name) in _ENDS:
            stack = [name, caller, *callers]
            if stack[-1].startswith(_BEGINNINGS):
                self.way.update(stack)

    def _callers(self, frame: FrameType) -> Iterator[str]:
        """Those of a call, from the nearest on."""
        above = frame.f_back
        while above is not None:
            if name := self._name(above):
                yield name
            above = above.f_back

    def _name(self, frame: FrameType) -> str:
        """The product's file; empty for others."""
        path = Path(frame.f_code.co_filename)
        name = str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else ""
        return name if name.startswith(tuple(self.tops)) and "_pb2" not in name else ""


@contextmanager
def traced(tops: Sequence[str]) -> Iterator[Trace]:
    """A trace of what runs in the block."""
    trace = Trace(tops)
    threading.setprofile(trace.note)
    sys.setprofile(trace.note)
    try:
        yield trace
    finally:
        sys.setprofile(None)
        threading.setprofile(None)


def followed(tops: Sequence[str]) -> dict[str, list[str]]:
    """The files that one ModelInfer passes, after the first few have warmed everything up; of
    those, the ones that lead on and the ones on the way, in each of five requests; and those that
    one publication passes, from command to registered version; what runs in its worker process is
    not seen.
    """
    from tests.support.harness.gateway import GatewayHarness, question, rows

    with tempfile.TemporaryDirectory() as folder, traced(tops) as trace:
        harness = GatewayHarness(Path(folder) / "state", "digits-standard")
        harness.start()
        harness.promote("digits", 1)
        asked = question("digits", rows(), receipt=True)
        inference = harness.inference()
        for _ in range(3):
            inference.ModelInfer(asked, timeout=60)
        taken = []
        for _ in range(_REQUESTS):
            trace.clear()
            inference.ModelInfer(asked, timeout=60)
            taken.append((set(trace.files), set(trace.leading), set(trace.way)))
        trace.clear()
        harness.publish("digits-hardened", "digits")
        publication = [sorted(each) for each in (trace.files, trace.leading, trace.way)]
        harness.stop()
    passed, leading, way = zip(*taken, strict=True)
    return {
        "request_files": sorted(passed[0]),
        "request_files_leading_on": sorted(set.intersection(*leading)),
        "request_files_on_the_way": sorted(set.intersection(*way)),
        "publication_files": publication[0],
        "publication_files_leading_on": publication[1],
        "publication_files_on_the_way": publication[2],
    }
