"""The paths, and the document that describes them."""

import json
import re

from gateway.auth.method_rules import ANYONE, AUDIT_READS, RULES
from gateway.services.health import SERVICES
from gateway.transport.http.openapi import document
from gateway.transport.http.operations import OPENAPI, OPERATIONS, READS_BODY, ROUTES, find
from tests.support.oracles.programs import python_with, run

INFERENCE = SERVICES[0]
# Streams, and what reaches into the server's own memory, log or traces.
NOT_HERE = re.compile(r"Stream|SharedMemory|TraceSetting|LogSettings")


def test_every_path_has_a_rule_and_something_that_answers() -> None:
    for route in ROUTES:
        assert route.method in RULES
        assert route.operation in OPERATIONS
        # The gRPC listener records each such read before it answers, which this one does not do.
        assert route.method not in AUDIT_READS
    assert {route.operation for route in ROUTES} == set(OPERATIONS)
    assert set(OPERATIONS) >= READS_BODY


def test_only_what_reads_no_body_is_open_to_anyone() -> None:
    """The body of somebody unknown is never read."""
    open_to_anyone = {route.operation for route in ROUTES if RULES[route.method] == ANYONE}
    assert open_to_anyone == {"ServerLive", "ServerReady"}
    assert not open_to_anyone & READS_BODY


def test_every_method_of_the_protocol_has_its_path() -> None:
    offered = {method.name for method in INFERENCE.methods if not NOT_HERE.search(method.name)}
    # OpenAI's chats are a stream's.
    assert offered == {route.rpc for route in ROUTES} - {"ModelStreamInfer"}


def test_paths_are_told_apart() -> None:
    for route in ROUTES:
        target = route.path.format(model="infer", version="1")
        found = find(route.verb, target)
        assert found is not None
        assert found[0] is route
        assert set(found[1]) == set(re.findall(r"{(\w+)}", route.path))


def test_the_document_has_every_path_and_no_other() -> None:
    described = {
        (verb.upper(), path) for path, verbs in document()["paths"].items() for verb in verbs
    }
    assert described == {("GET", OPENAPI), *((route.verb, route.path) for route in ROUTES)}


def test_references_lead_somewhere() -> None:
    found = document()
    for place in re.findall(r'"#/([^"]+)"', json.dumps(found)):
        part = found
        for name in place.split("/"):
            part = part[name]
        assert part


def test_it_is_openapi() -> None:
    """By a validator that we did not write."""
    program = (
        "import json, sys\n"
        "from openapi_spec_validator import OpenAPIV31SpecValidator\n"
        "OpenAPIV31SpecValidator(json.load(sys.stdin)).validate()\n"
    )
    python = python_with("openapi_spec_validator")
    checked = run([python, "-c", program], json.dumps(document()))
    assert checked.returncode == 0, checked.stderr
