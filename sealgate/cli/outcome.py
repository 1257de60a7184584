"""`sealgate outcome`: reports what was true of answers, and shows what such reports say."""

import csv
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from itertools import groupby
from pathlib import Path
from typing import Any

import click
import numpy as np
from google.protobuf.json_format import MessageToDict

from sealgate.cli.context import connected, governance_of, profile
from sealgate.cli.options import EXISTING_FILE
from sealgate.cli.output import HelpfulGroup, ask_secret, json_option, show_rows
from sealgate.client.request import InferResult
from sealgate.private_keys import named_key, open_signer
from sealgate.remote.calls import send
from sealgate.tensors import DTYPES, Tensor
from sealgate.trust.policy import EvidenceRules
from sealgate.trust.receipts import Receipt
from sealgate.trust.statements import Evidence, sign_statement
from sealgate.trust.times import format_time
from sealgate.v1 import outcome_pb2 as messages
from sealgate.v1.outcome_pb2_grpc import OutcomeServiceStub

_AT_ONCE = 256
_COLUMNS = 8
_FIXED = ("index", "label", "number")
Json = dict[str, Any]


@click.group("outcome", cls=HelpfulGroup)
def outcome() -> None:
    """Report the true outcomes of answers, and show how accurate models still are."""


def keep_answer(file: Path, answer: InferResult) -> None:
    """Append an answer to a file, as `outcome report` takes it. Raises OSError."""
    proof = Receipt.decode(answer.receipt.data).proof
    tensors = [Tensor.of(name, np.asarray(data)) for name, data in answer.outputs.items()]
    line = {
        "origin": proof.checkpoint_note.partition("\n")[0],
        "index": proof.index,
        "outputs": [
            {"name": t.name, "datatype": t.datatype, "shape": t.shape, "data": t.data.tolist()}
            for t in tensors
        ],
    }
    with file.open("a") as opened:
        opened.write(json.dumps(line) + "\n")


@outcome.command(
    epilog="""
\b
Examples:
  sealgate infer credit --input rows.csv --keep answers.jsonl
  sealgate outcome report outcomes.csv --answers answers.jsonl
"""
)
@click.argument("file", type=EXISTING_FILE)
@click.option(
    "--answers",
    required=True,
    type=EXISTING_FILE,
    help="The answers that `infer --keep` has written.",
)
@json_option
@click.pass_context
def report(ctx: click.Context, file: Path, answers: Path, as_json: bool) -> None:
    """Report the true outcomes in FILE, a .csv or .jsonl file, of answers that were kept.

    Of a .csv, the columns are `index` (the answer's entry) and `label` or `number`; several are
    parted by `;`, and the rows of one answer follow one another. Every other column states a group.
    Of a .jsonl, each line has `index`, `truths` (for each row a label, a number, or a list of
    either), and perhaps `groups`. A report that was made before changes nothing. The exit status is
    1 if a report is refused.
    """
    kept = _answers(answers)
    reports = list(_reports(file, kept))
    person = profile(ctx, "client")
    rows: list[Json] = []
    with connected(person) as channel:
        stub = OutcomeServiceStub(channel)
        for origin, some in groupby(reports, key=lambda each: each[0]):
            for batch in _batches(message for _, message in some):
                request = messages.ReportOutcomesRequest(origin=origin, reports=batch)
                results = send(stub.ReportOutcomes, request).results
                rows += [
                    {"index": each.index, "entry": each.entry, "reason": each.reason}
                    for each in results
                ]
    refused = [row for row in rows if row["reason"]]
    if as_json:
        click.echo(json.dumps(rows, indent=2))
    else:
        click.echo(f"{len(rows) - len(refused)} reported")
        if refused:
            reasons = Counter(str(row["reason"]) for row in refused)
            show_rows([{"refused": n, "reason": r} for r, n in reasons.items()], _REFUSED, False)
            show_rows(refused, ("index", "reason"), False)
    if refused:
        ctx.exit(1)


_REFUSED = ("refused", "reason")


@outcome.command(epilog="\b\nExample:\n  sealgate outcome show credit")
@click.argument("model")
@json_option
@click.pass_context
def show(ctx: click.Context, model: str, as_json: bool) -> None:
    """Show what was reported of MODEL: of each promotion, within its window."""
    with connected(profile(ctx, "auditor")) as channel:
        request = messages.GetOutcomesRequest(model=model)
        found = OutcomeServiceStub(channel).GetOutcomes(request).series
    if as_json:
        click.echo(json.dumps([_document(series) for series in found], indent=2))
        return
    rows = [
        _promotion(series)
        | {
            "promotion": series.pointer_sequence,
            "outcomes": series.figures.outcomes,
            "right": f"{100 * series.figures.accuracy:.1f} %",
            "calibration error": _percent(series.figures, "ece"),
            "passes": series.finding,
        }
        for series in found
    ]
    show_rows(rows, rows[0] if rows else ("alias", "version", "outcomes"), False)
    for table in filter(None, (_groups(found), _columns(found))):
        click.echo()
        show_rows(table, table[0], False)


def _promotion(series: messages.OutcomeSeries) -> Json:
    return {"alias": series.alias or "by version", "version": series.version}


def _groups(found: Iterable[messages.OutcomeSeries]) -> list[Json]:
    """How often each group's answers were wrong."""
    return [
        _promotion(series)
        | {
            "group": f"{each.attribute}: {each.group}",
            "outcomes": each.outcomes,
            "wrong": f"{100 * each.error:.1f} %",
        }
        for series in found
        for each in series.groups
    ]


def _columns(found: Iterable[messages.OutcomeSeries]) -> list[Json]:
    """How far columns have drifted, the first few of each promotion."""
    return [
        _promotion(series)
        | {
            "column": each.column,
            "rows": each.rows,
            "PSI": f"{each.psi:.3f}",
            "KS": f"{each.ks:.3f}",
        }
        for series in found
        for each in series.columns[:_COLUMNS]
    ]


@outcome.command(epilog="\b\nExample:\n  sealgate --as approver-1 outcome attach credit 3")
@click.argument("model")
@click.argument("version", type=click.IntRange(1))
@click.pass_context
def attach(ctx: click.Context, model: str, version: int) -> None:
    """Attach what was reported of VERSION of MODEL to it, as evidence that you sign.

    It names the entries that hold the reports, and a dossier cites it.
    """
    person = profile(ctx, "approver-1")
    key = named_key(person.signing_key)
    with connected(person) as channel:
        request = messages.GetOutcomesRequest(model=model)
        found = OutcomeServiceStub(channel).GetOutcomes(request).series
        about = [series for series in found if series.version == version]
        if not about:
            raise click.ClickException(f"no outcome of version {version} has been reported")
        evidence = Evidence(
            EvidenceRules.OUTCOME_REPORT,
            about[0].version_digest,
            person.name,
            format_time(datetime.now(UTC)),
            {"series": [_document(series) for series in about]},
        )
        envelope = sign_statement(evidence, open_signer(key, ask_secret)).encode()
        governance_of(person, channel).attach(model, version, envelope)
    click.echo(f"attached to version {version}: {len(about)} promotions")


def _document(series: messages.OutcomeSeries) -> Json:
    """A series as JSON, with whole numbers as such."""
    text = MessageToDict(
        series, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
    )
    whole = {f.name for f in series.DESCRIPTOR.fields if f.type == f.TYPE_INT64}
    whole |= {"outcomes", "time", "rows"}
    return {name: _whole(name, value, whole) for name, value in text.items()}


def _whole(name: str, value: Any, whole: set[str]) -> Any:
    if isinstance(value, list):
        return [_whole(name, each, whole) for each in value]
    if isinstance(value, dict):
        return {key: _whole(key, each, whole) for key, each in value.items()}
    return int(value) if name in whole else value


def _percent(figures: messages.OutcomeFigures, name: str) -> str:
    return f"{100 * getattr(figures, name):.1f} %" if figures.HasField(name) else ""


def _answers(file: Path) -> dict[int, Json]:
    found = {}
    for number, line in enumerate(file.read_text().splitlines(), 1):
        try:
            answer = json.loads(line)
            found[int(answer["index"])] = answer
        except (ValueError, KeyError, TypeError) as error:
            raise click.ClickException(f"{file}, line {number}: not a kept answer") from error
    return found


def _reports(file: Path, kept: Mapping[int, Json]) -> Iterator[tuple[str, messages.OutcomeReport]]:
    read = _csv if file.suffix == ".csv" else _jsonl
    try:
        for said in read(file):
            answer = kept.get(said["index"])
            if answer is None:
                raise click.ClickException(f"no kept answer has the index {said['index']}")
            yield str(answer["origin"]), _message(said, answer)
    except (ValueError, KeyError, TypeError) as error:
        raise click.ClickException(f"{file} does not hold outcomes: {error!r}") from error


def _csv(file: Path) -> Iterator[Json]:
    with file.open(newline="") as opened:
        for index, rows in groupby(csv.DictReader(opened), key=lambda row: int(row["index"])):
            lines = list(rows)
            truths: list[Any] = [
                line["label"].split(";")
                if "label" in line
                else [float(text) for text in line["number"].split(";")]
                for line in lines
            ]
            stated = {name: text for name, text in lines[0].items() if name not in _FIXED and text}
            yield {"index": index, "truths": truths, "groups": stated}


def _jsonl(file: Path) -> Iterator[Json]:
    for line in file.read_text().splitlines():
        said = json.loads(line)
        yield {"groups": {}, **said, "index": int(said["index"])}


def _message(said: Json, answer: Json) -> messages.OutcomeReport:
    tensors = [
        Tensor.of(each["name"], np.array(each["data"], DTYPES[each["datatype"]]))
        for each in answer["outputs"]
    ]
    truths = [each if isinstance(each, list) else [each] for each in said["truths"]]
    return messages.OutcomeReport(
        index=said["index"],
        outputs=[
            messages.AnswerTensor(name=t.name, datatype=t.datatype, shape=t.shape, raw=t.raw)
            for t in tensors
        ],
        truths=[
            messages.TrueOutcome(labels=truth)
            if all(isinstance(item, str) for item in truth)
            else messages.TrueOutcome(numbers=truth)
            for truth in truths
        ],
        groups=said["groups"],
    )


def _batches(
    reports: Iterable[messages.OutcomeReport],
) -> Iterator[list[messages.OutcomeReport]]:
    batch: list[messages.OutcomeReport] = []
    for each in reports:
        batch.append(each)
        if len(batch) == _AT_ONCE:
            yield batch
            batch = []
    if batch:
        yield batch
