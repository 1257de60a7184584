"""Topics about the version that a dossier describes, read from its evidence."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from sealgate.dossier.record import DossierClaim, ModelHistory, RecordedStatement, not_covered
from sealgate.trust.policy import EvidenceRules

Sentences = Iterator[str | None]
"""Texts of claims; None where the evidence has no such fact."""


def model_card(record: ModelHistory, time: str) -> Iterator[DossierClaim]:
    """The model's card, from its bill of materials."""
    return _about(record, "mlbom", "a model card", _card)


def intended_use(record: ModelHistory, time: str) -> Iterator[DossierClaim]:
    """Its intended use, in its publisher's words."""
    return _about(record, "mlbom", "an intended use", _uses)


def data(record: ModelHistory, time: str) -> Iterator[DossierClaim]:
    """The data that the bill of materials names."""
    return _about(record, "mlbom", "the data", _data)


def development(record: ModelHistory, time: str) -> Iterator[DossierClaim]:
    """How the version was built, and of what."""
    return _about(record, "build-provenance", "how the version was built", _build)


def evaluation(record: ModelHistory, time: str) -> Iterator[DossierClaim]:
    """The measurements from its publication."""
    yield from _about(record, "mlbom", "performance", _metrics)
    yield from _about(record, "golden-run", "reproducible answers", _golden)


def screening(record: ModelHistory, time: str) -> Iterator[DossierClaim]:
    """Which attacks screening finds, what gets past it, and its false alarms."""
    return _about(record, "screening-report", "screening against adversarial input", _attacks)


def red_team(record: ModelHistory, time: str) -> Iterator[DossierClaim]:
    """The attacks by others than the publisher."""
    found = record.attached_of(EvidenceRules.RED_TEAM)
    for said in found:
        item = said.statement
        for text in _attacks(item.body):
            if text:
                yield DossierClaim(
                    f"Red team of {item.maker}, {item.created}: {text}", (said.citation,)
                )
    if not found:
        yield not_covered("attacks by others, for nobody attached a red team's report")


def watermark(record: ModelHistory, time: str) -> Iterator[DossierClaim]:
    """Whether the version carries a mark by which a copy is known."""
    return _about(record, "watermark-check", "a watermark", _mark)


def supply_chain(record: ModelHistory, time: str) -> Iterator[DossierClaim]:
    """Its materials and their formats."""
    yield from _about(record, "mlbom", "a bill of materials", _parts)
    yield from _about(record, "format-scan", "a scan of formats", _formats)


def _about(
    record: ModelHistory, kind: str, what: str, facts: Callable[[Mapping[str, Any]], Sentences]
) -> Iterator[DossierClaim]:
    """The facts of the described version's evidence; a line that says so where there are none."""
    subject = record.subject()
    item = subject.item(kind) if subject else None
    told = list(_facts(item, facts)) if item is not None else []
    if item is not None and told:
        yield from (DossierClaim(text, (item.citation,)) for text in told)
    else:
        yield not_covered(f"{what}, for no evidence {kind} says it")


def _facts(
    item: RecordedStatement, facts: Callable[[Mapping[str, Any]], Sentences]
) -> Iterator[str]:
    try:
        yield from (text for text in facts(item.statement.body) if text)
    except (KeyError, TypeError, ValueError, AttributeError):
        # Evidence of another form than ours; what was read of it stands.
        return


def _model(body: Mapping[str, Any]) -> Mapping[str, Any]:
    found: Mapping[str, Any] = body["metadata"]["component"]
    return found


def _card(body: Mapping[str, Any]) -> Sentences:
    component = _model(body)
    yield component.get("description")
    parameters = component["modelCard"]["modelParameters"]
    yield f"Task: {parameters['task']}"
    for way in ("inputs", "outputs"):
        formats = ", ".join(str(each["format"]) for each in parameters.get(way, []))
        yield f"{way.capitalize()}: {formats}" if formats else None


def _uses(body: Mapping[str, Any]) -> Sentences:
    for use in _model(body)["modelCard"]["considerations"]["useCases"]:
        yield f"Intended use, by the publisher: {use}"


def _data(body: Mapping[str, Any]) -> Sentences:
    for part in body["components"]:
        if part["type"] == "data":
            licences = [each["license"].get("id", "—") for each in part.get("licenses", [])]
            digest = "".join(f", SHA-256 {each['content']}" for each in part.get("hashes", []))
            named = f", licence {', '.join(licences)}" if licences else ""
            yield f"Data set {part['name']}{digest}{named}"


def _build(body: Mapping[str, Any]) -> Sentences:
    predicate = body["predicate"]
    build, run = predicate["buildDefinition"], predicate["runDetails"]
    yield f"Built by {run['builder']['id']} as {build['buildType']}"
    for name, value in build.get("externalParameters", {}).items():
        yield f"Parameter {name}: {value}" if isinstance(value, str | int | float) else None
    for part in build.get("resolvedDependencies", []):
        digest = part.get("digest", {}).get("sha256") or part.get("uri", "")
        yield f"Made from {part.get('name', 'a package')}, {digest}"


def _metrics(body: Mapping[str, Any]) -> Sentences:
    for metric in _model(body)["modelCard"]["quantitativeAnalysis"]["performanceMetrics"]:
        of = f" ({metric['slice']})" if metric.get("slice") else ""
        yield f"{metric.get('type', 'Metric')}{of}: {metric['value']}"


def _golden(body: Mapping[str, Any]) -> Sentences:
    alike = "yes" if body["same_alone_and_in_a_batch"] else "no"
    yield (
        f"{body['rows']} golden answers: {_percent(body['same_class_as_fp32'])} of float32's "
        f"class, same alone and in a batch: {alike}"
    )


def _attacks(body: Mapping[str, Any]) -> Sentences:
    for name, found in body["attacks"].items():
        succeeded = float(found.get("succeeded", 0))
        if not succeeded:
            yield f"Attack {name}: fools none of {body.get('rows', '?')} rows"
        elif "flagged" in found:
            past = 1 - float(found["at_least_suspect"])
            yield (
                f"Attack {name}: fools {_percent(succeeded)}; of these "
                f"{_percent(found['flagged'])} are found adversarial, "
                f"{_percent(found['at_least_suspect'])} at least suspect, {_percent(past)} get past"
            )
    clean = body.get("clean", {})
    if "flagged" in clean:
        yield (
            f"Clean rows: {_percent(clean['flagged'])} found adversarial, "
            f"{_percent(clean['at_least_suspect'])} at least suspect"
        )


def _mark(body: Mapping[str, Any]) -> Sentences:
    for name, key in (("float32", "fp32"), ("INT8", "int8")):
        if key in body:
            yield f"Watermark in {name}: z {float(body[key]['z']):.2f}, needed {body['threshold']}"
    yield f"Accuracy lost by marking: {_percent(body['accuracy_lost'])}"
    yield f"Commitment {body['commitment']}, made in entry {body['commitment_entry']}"


def _parts(body: Mapping[str, Any]) -> Sentences:
    parts = body["components"]
    yield f"Bill of materials ({body['bomFormat']} {body['specVersion']}): {len(parts)} components"


def _formats(body: Mapping[str, Any]) -> Sentences:
    for path, found in body["files"].items():
        outside = ", data outside the file" if found.get("external_data") else ""
        yield f"File {path}: {found['format']}{outside}"


def _percent(value: Any) -> str:
    return f"{100 * float(value):.1f}%"
