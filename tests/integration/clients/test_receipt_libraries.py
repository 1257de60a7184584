"""The libraries for Go, Java and JavaScript say of each receipt what the Python client does."""

from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PrivateKey

from sealgate.oip import grpc_service_pb2 as oip
from sealgate.tensors import parameters_digest
from sealgate.trust import dsse
from sealgate.trust.keys import Signer
from sealgate.trust.policy import Policy, PolicyRoot
from sealgate.trust.receipts.answer_entry import tensors_digest
from sealgate.trust.transparency import ml_dsa
from sealgate.trust.transparency.ml_dsa import LogCosigners, MlDsaKey, PairedSigner
from tests.support.builders.documents import receipt_cases, receipt_vectors, vectors
from tests.support.builders.documents.people import (
    ANSWER_LOG,
    key,
    make_policy,
    p256_key,
    sign_policy,
)
from tests.support.builders.documents.receipt_cases import BASE, RECEIPT, Case, alterations, verdict
from tests.support.oracles import programs
from tests.support.oracles.receipt_libraries import LIBRARIES, ReceiptLibrary

ALTERATIONS = 150
ANSWER_KEY = key("answer-log")


@pytest.fixture(scope="module", params=LIBRARIES)
def library(request, tmp_path_factory) -> ReceiptLibrary:
    return LIBRARIES[request.param](tmp_path_factory.mktemp(request.param))


def test_each_case_has_its_reason(library: ReceiptLibrary) -> None:
    cases = receipt_vectors.cases()
    said = zip(cases, library.verdicts(cases), strict=True)
    assert [(case.name, found) for case, found in said if found != case.reason] == []


def test_the_cases_are_those_of_the_vectors_and_of_the_python_client() -> None:
    cases = receipt_vectors.cases()
    assert receipt_vectors.FILE.read_text(encoding="utf-8") == receipt_vectors.document(cases)
    assert [(case.name, verdict(case)) for case in cases if verdict(case) != case.reason] == []


def test_an_alteration_anywhere_is_refused(library: ReceiptLibrary) -> None:
    altered = [replace(BASE, receipt=text) for text in alterations(RECEIPT, ALTERATIONS)]
    (policy,) = BASE.policies
    altered += [replace(BASE, policies=(text,)) for text in alterations(policy, ALTERATIONS)]
    assert "" not in library.verdicts(altered)


def test_bytes_that_are_no_text_are_refused(library: ReceiptLibrary) -> None:
    # Surrogates in UTF-8, a long form of a slash, a character cut off, a byte of Latin-1.
    odd = (b"\xed\xa0\xbd\xed\xb8\x80", b"\xc0\xaf", b"\xf0\x9f\x98", b"\xe9")
    texts = [RECEIPT.replace("carla", data.decode("utf-8", "surrogateescape")) for data in odd]
    cases = [replace(BASE, receipt=text) for text in texts]
    assert {verdict(case) for case in cases} == {"DOCUMENT_MALFORMED"}
    assert set(library.verdicts(cases)) == {"DOCUMENT_MALFORMED"}


def test_an_ml_dsa_signature_is_reported_as_unchecked(library: ReceiptLibrary) -> None:
    signer = PairedSigner(key("answer-log"), MlDsaKey(MLDSA44PrivateKey.from_seed_bytes(bytes(32))))
    beside = LogCosigners({ANSWER_LOG: ml_dsa.vkey(ANSWER_LOG, signer.beside.raw)})
    case = under(make_policy(ml_dsa=beside), signer)
    assert verdict(case) == ""
    assert library.verdicts([case]) == ["unchecked"]


def test_root_keys_may_be_of_p256(library: ReceiptLibrary) -> None:
    roots = [p256_key(name) for name in ("west", "east")]
    keys = {**make_policy().keys, **{root.public.keyid: root.public for root in roots}}
    policy = make_policy(keys=keys, root=PolicyRoot(tuple(r.public.keyid for r in roots), 2))
    signed = dsse.sign(Policy.PAYLOAD_TYPE, policy.encode(), *roots).encode().decode()
    case = replace(under(policy), policies=(signed,), root_keys=tuple(r.public.pem for r in roots))
    other = replace(case, policies=(signed.replace('"sig":"ME', '"sig":"MD', 1),))
    assert [verdict(case), library.verdicts([case, other])] == ["", ["", verdict(other)]]
    assert verdict(other) == "SIGNATURE_INVALID"


def under(policy: Policy, signer: Signer = ANSWER_KEY) -> Case:
    """An answer under another policy, in a log that another signs."""
    receipt = receipt_cases.made(
        receipt_cases.EXPECTED | {"policy_digest": policy.digest}, signer=signer
    )
    return replace(BASE, receipt=receipt, policies=(sign_policy(policy).encode().decode(),))


def test_names_are_sorted_by_their_bytes(library: ReceiptLibrary) -> None:
    """Not by UTF-16, in which a character outside the first 65,536 comes before U+FFFD."""
    names = ("\U0001f600", "\ufffd", "z")
    tensors = [{"name": name, "datatype": "BYTES", "shape": [0], "raw": ""} for name in names]
    expected = tensors_digest((name, "BYTES", (0,), b"") for name in names)
    assert library.tensors_digest(tensors) == expected
    request = oip.ModelInferRequest()
    for name in names:
        request.parameters[name].int64_param = -(2**63)
    written = {"parameters": {n: {"int64_param": -(2**63)} for n in names}, "outputs": []}
    assert library.parameters_digest(written) == parameters_digest(request)


def test_digests_are_those_of_the_vectors(library: ReceiptLibrary) -> None:
    known = vectors.read("tensors")
    assert library.tensors_digest(known["tensors"]) == known["digest"]
    requests = vectors.read("parameters")["requests"]
    found = [library.parameters_digest(request) for request in requests]
    assert found == [request["digest"] for request in requests]


@pytest.mark.parametrize(
    ("folder", "pattern"),
    [
        ("clients/go", "*.go"),
        ("clients/java/src/sealgate/receipt", "*.java"),
        ("sealgate/pages", "*.mjs"),
    ],
)
def test_each_can_be_read_in_one_sitting(folder: str, pattern: str) -> None:
    """Fewer than 600 lines of code, blank ones and comments left out."""
    files = sorted((programs.ROOT / folder).glob(pattern))
    lines = [line.strip() for file in files for line in file.read_text("utf-8").splitlines()]
    code = [line for line in lines if line and not line.startswith(("//", "/*", "*"))]
    assert 300 < len(code) < 600
