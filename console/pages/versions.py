"""A version: its files and evidence, and how both differ from what is in production."""

from dataclasses import dataclass

from starlette.responses import Response

from console.display.evidence import ShownEvidence, Table, compared_charts, differences, show
from console.reading.versions import ShownVersion, newest_pointers, read_version
from console.views import View
from sealgate.trust.fields import check_name
from sealgate.trust.policy import DEFAULT_ALIAS


@dataclass(frozen=True, slots=True)
class FileChange:
    """A file of two versions: `change` is `same`, `changed`, `new` or `gone`."""

    path: str
    size: int
    digest: str
    change: str


def version(view: View) -> Response:
    model, number = check_name(view.path("model")), int(view.path("number"))
    shown = read_version(view.calls, model, number)
    pointer = newest_pointers(view.calls, [model]).get((model, DEFAULT_ALIAS))
    live = None
    if pointer is not None and pointer.version != number:
        live = read_version(view.calls, model, pointer.version)
    return view.render(
        "version.html",
        model=model,
        version=shown,
        in_production=pointer is not None and pointer.version == number,
        live=live,
        files=file_changes(shown, live),
        evidence=shown_evidence(shown),
        compared=compared(shown, live),
        plots=plots(shown, live),
    )


def shown_evidence(version: ShownVersion) -> list[ShownEvidence]:
    """The evidence, what people look at first before the rest."""
    first = ("screening-report", "golden-run", "watermark-check", "mlbom")
    order = sorted(
        version.evidence,
        key=lambda item: first.index(item.kind) if item.kind in first else len(first),
    )
    return [*(show(item) for item in order), *(show(item, later=True) for item in version.attached)]


def compared(version: ShownVersion, live: ShownVersion | None) -> list[Table]:
    """For each kind of evidence that both have, in what they differ."""
    if live is None:
        return []
    pairs = [(item, live.of(item.kind)) for item in version.evidence]
    tables = [differences(ours, theirs) for ours, theirs in pairs if theirs is not None]
    return [table for table in tables if table is not None]


def plots(version: ShownVersion, live: ShownVersion | None) -> list[str]:
    """The evidence of both versions in the same plots."""
    if live is None:
        return []
    pairs = [(item, live.of(item.kind)) for item in version.evidence]
    return [
        chart
        for ours, theirs in pairs
        if theirs is not None
        for chart in compared_charts(ours, theirs)
    ]


def file_changes(version: ShownVersion, live: ShownVersion | None) -> list[FileChange]:
    """The files of the version, beside those of the one in production, if that is another."""
    before = {entry.path: entry for entry in live.manifest.files} if live else {}
    changes = []
    for entry in version.manifest.files:
        old = before.pop(entry.path, None)
        change = "new" if old is None else "same" if old.digest == entry.digest else "changed"
        changes.append(FileChange(entry.path, entry.size, entry.digest, change if live else ""))
    gone = [FileChange(entry.path, entry.size, entry.digest, "gone") for entry in before.values()]
    return changes + gone


ROUTES = [("/models/{model}/versions/{number:int}", version, ("GET",))]
