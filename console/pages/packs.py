"""The auditor's pack: everything that programs other than Sealgate need to check the record."""

from starlette.responses import FileResponse, Response

from console.reading.packs import PackRequest
from console.views import View
from sealgate.reasons import Reason, SealgateError
from sealgate.trust.fields import check_name


def pack(view: View) -> Response:
    """The form for a pack, and how far the one of this session has come."""
    exports, calls = view.console.packs, view.calls
    if view.request.method == "POST":
        names = view.form.get("models", "").replace(",", " ").split()
        asked = PackRequest(
            policies=calls.policies,
            models=tuple(map(check_name, names)),
            with_files=view.form.get("files") == "yes",
            now=view.now,
        )
        exports.begin(view.session.handle, calls.channel, asked)
    job = exports.of(view.session.handle)
    template = "pack_state.html" if view.query("part") else "pack.html"
    return view.render(template, job=job, size=_size(view))


def _size(view: View) -> int:
    job = view.console.packs.of(view.session.handle)
    return job.file.stat().st_size if job is not None and job.pack is not None else 0


def file(view: View) -> Response:
    """The pack as a zip file."""
    job = view.console.packs.of(view.session.handle)
    if job is None or job.pack is None:
        raise SealgateError(Reason.PARAMETER_MALFORMED, "there is no finished pack")
    return FileResponse(job.file, media_type="application/zip", filename="sealgate-pack.zip")


ROUTES = [("/audit/pack", pack, ("GET", "POST")), ("/audit/pack/file", file, ("GET",))]
