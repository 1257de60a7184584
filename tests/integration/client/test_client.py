"""The client library against a real gateway, blocking and aio: numpy in, verified receipt out."""

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor

import grpc
import numpy as np
import pytest
from safetensors.numpy import load_file

import sealgate
from inference.screening.gradient_attacks import PGD_SHARE, PGD_STEPS, pgd
from sealgate.client.client import options_of
from sealgate.client.request import PreparedRequest
from sealgate.reasons import Reason, SealgateError
from sealgate.remote.calls import Retries
from sealgate.remote.errors import GatewayRefusal
from sealgate.trust.keys import PrivateKey
from sealgate.trust.receipts import CALLER_FIELDS
from tests.support.builders.documents.people import refused
from tests.support.harness.gateway import DATA, MODELS, labels, rows


def connected(harness, person="client", **changes):
    profile = harness.profile(person)
    return sealgate.connect(profile.endpoint, **{**options_of(profile), **changes})


@pytest.fixture
def client(harness):
    with connected(harness) as client:
        yield client


def test_arrays_in_and_out_with_a_verified_receipt(client):
    sent = rows(count=8)
    answer = client.infer("digits", {"x": sent}, id="case-7", subject="patient-17")
    expected = labels(count=8)
    assert (answer["logits"].argmax(axis=1) == expected).sum() >= 7
    assert (answer.model, answer.version, answer.id) == ("digits", 1, "case-7")
    assert set(answer.receipt.fields) == set(CALLER_FIELDS)
    assert answer.receipt.fields["principal"] == "client"


def test_what_can_be_asked_besides(client):
    x = rows()
    assert client.infer("digits", {"x": x}, version=1).version == 1
    assert client.infer("digits", {"x": x}, alias="production", outputs=["logits"]).version == 1
    assert client.is_ready("digits")
    assert not client.is_ready("digits", 9)
    assert [tensor.name for tensor in client.metadata("digits").inputs] == ["x"]


def test_the_same_by_tasks(harness):
    async def ask():
        profile = harness.profile("client")
        async with sealgate.connect_aio(profile.endpoint, **options_of(profile)) as client:
            asked = [client.infer("digits", {"x": row[None]}) for row in rows(count=16)]
            answers = await asyncio.gather(*asked)
            with refused(Reason.MODEL_UNKNOWN):
                await client.infer("unknown", {"x": rows()})
            sizes = await client.witness_logs()
            return answers, sizes, await client.is_ready("digits")

    answers, sizes, ready = asyncio.run(ask())
    assert len({answer.receipt.data for answer in answers}) == 16
    assert sorted(sizes) == ["house.localhost/answers", "house.localhost/registry"]
    assert ready


def test_many_threads_share_a_client_and_its_witness(harness, client):
    with ThreadPoolExecutor(8) as pool:
        answers = list(
            pool.map(lambda row: client.infer("digits", {"x": row[None]}), rows(count=100))
        )
    assert len({answer.receipt.data for answer in answers}) == 100
    newest = max(answer.receipt.checkpoint.size for answer in answers)
    assert client.witness_logs()["house.localhost/answers"] >= newest


@pytest.mark.parametrize("token", ["as text", "asked for"])
def test_the_caller_is_known_by_its_token_alone(harness, token):
    text = harness.profile("client").token.read_text().strip()
    changes = {"token": text if token == "as text" else lambda: text, "principal": ""}
    with connected(harness, **changes) as client:
        assert client.infer("digits", {"x": rows()}).receipt.fields["principal"] == "client"


def test_a_certificate_is_a_credential_too_and_refusals_keep_their_reason(harness):
    with connected(harness, "auditor", principal="") as client:
        assert client.witness_logs()
        with pytest.raises(GatewayRefusal) as caught:
            client.infer("digits", {"x": rows()})
    assert caught.value.reason is Reason.ROLE_TOO_LOW
    assert caught.value.code is grpc.StatusCode.PERMISSION_DENIED
    assert caught.value.receipt is None


def test_a_bad_token_is_refused_with_the_gateways_reason(harness):
    with connected(harness, token="not-a-token") as client, refused(Reason.TOKEN_MALFORMED):
        client.infer("digits", {"x": rows()})


def test_a_refusal_after_the_question_was_read_has_a_verified_receipt(client):
    with pytest.raises(GatewayRefusal) as caught:
        client.infer("digits", {"x": rows()[:, :10]})
    assert caught.value.reason is Reason.TENSOR_SHAPE
    assert caught.value.receipt.fields["outcome"] == Reason.TENSOR_SHAPE.name
    assert caught.value.receipt.fields["input"].startswith("sha256:")


def test_an_attack_is_refused_with_a_receipt(client):
    import onnxruntime

    data = load_file(DATA / "digits.safetensors")
    session = onnxruntime.InferenceSession(
        MODELS / "digits-standard" / "response.onnx", providers=["CPUExecutionProvider"]
    )
    clean, classes = data["x_test"][:64].astype(np.float32), data["y_test"][:64]
    attacked = pgd(session, clean, classes, 0.2, 0.2 / PGD_SHARE, PGD_STEPS, 0.0, 1.0)

    def ask_all():
        for row in attacked:
            client.infer("digits", {"x": row[None]})

    with pytest.raises(GatewayRefusal) as caught:
        ask_all()
    assert caught.value.reason is Reason.ADVERSARIAL_INPUT
    assert caught.value.receipt.fields["verdict"] == "adversarial"


def test_a_full_queue_is_asked_again_and_its_refusals_are_on_record(harness, client, monkeypatch):
    infer_all, refusals = harness.gateway.engine.infer_all, []

    def busy(*arguments):
        if len(refusals) < 2:
            refusals.append(SealgateError(Reason.QUEUE_FULL))
            return refusals[-1:]
        return infer_all(*arguments)

    monkeypatch.setattr(harness.gateway.engine, "infer_all", busy)
    size, begun = harness.gateway.recorder.size, time.monotonic()
    assert client.infer("digits", {"x": rows()}).version == 1
    # The gateway names 0.1 s each time.
    assert time.monotonic() - begun > 0.2
    assert harness.gateway.recorder.size == size + 3


def test_a_receipt_forged_on_its_way_is_refused(harness, client, monkeypatch):
    honest = client.calls["ModelInfer"]

    def forged(request, timeout):
        response = honest(request, timeout=timeout)
        text = response.parameters["receipt"].string_param
        forged = text.replace('"value":"client"', '"value":"auditor"', 1)
        response.parameters["receipt"].string_param = forged
        return response

    monkeypatch.setitem(client.calls, "ModelInfer", forged)
    with refused(Reason.PROOF_INVALID):
        client.infer("digits", {"x": rows()})


def test_what_the_gateway_would_refuse_anyway_is_not_sent(harness, client):
    size = harness.gateway.recorder.size
    with refused(Reason.TENSOR_NOT_FINITE):
        client.infer("digits", {"x": np.full((1, 64), np.nan, np.float32)})
    with refused(Reason.TENSOR_DATATYPE):
        client.infer("digits", {"x": np.zeros((1, 64), np.complex64)})
    assert harness.gateway.recorder.size == size


def test_answers_under_a_policy_of_other_roots_are_worth_nothing(harness):
    strangers = [PrivateKey.generate("ed25519").public.pem for _ in range(3)]
    with connected(harness, root_keys=strangers) as client, refused(Reason.THRESHOLD_NOT_MET):
        client.infer("digits", {"x": rows()})


def test_a_deadline_covers_the_whole_call(client):
    begun = time.monotonic()
    with refused(Reason.DEADLINE_TOO_SHORT):
        client.infer("digits", {"x": rows()}, timeout=0.0001)
    assert time.monotonic() - begun < 25


def test_a_gateway_that_is_not_there_is_given_up_in_time(harness):
    begun = time.monotonic()
    profile = harness.profile("client")
    retries = Retries(attempts=3, first=0.01, longest=0.02)
    options = {**options_of(profile), "retries": retries}
    with (
        sealgate.connect("https://127.0.0.1:1", **options) as client,
        refused(Reason.CALL_FAILED),
    ):
        client.infer("digits", {"x": rows()})
    assert time.monotonic() - begun < 25


def test_there_is_no_connection_without_tls(harness):
    options = options_of(harness.profile("client"))
    with pytest.raises(ValueError, match="https"):
        sealgate.connect("http://127.0.0.1:8443", **options)


def test_a_question_built_elsewhere_is_asked_as_it_is(client):
    question = PreparedRequest.of("digits", {"x": rows()}, subject="patient-17")
    assert client.ask(question).receipt.fields["input"] == question.input_digest
