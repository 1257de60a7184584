"""A request and its answer as numpy arrays."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from sealgate.oip import grpc_service_pb2 as oip
from sealgate.remote.errors import CheckedReceipt
from sealgate.tensors import Array, Tensor, parameters_digest, read_inputs, write_inputs
from sealgate.trust.policy import DEFAULT_ALIAS
from sealgate.trust.receipts.answer_entry import tensors_digest

LABEL = "label"
"""The output of an answer that the policy reduced to classes."""


@dataclass(frozen=True, slots=True)
class InferResult:
    """A verified answer: `answer["logits"]` is the array of an output, read-only."""

    outputs: Mapping[str, Array]
    model: str
    version: int
    id: str
    receipt: CheckedReceipt

    def __getitem__(self, name: str) -> Array:
        return self.outputs[name]

    @property
    def classes(self) -> Array:
        """The likeliest class of each row, whether logits left or, by the policy, classes alone."""
        (found,) = self.outputs.values()
        return found if LABEL in self.outputs else found.argmax(axis=-1)


@dataclass(frozen=True, slots=True)
class PreparedRequest:
    """A request and the digest of its inputs, which is taken here and nowhere else.

    Each time that it is asked a nonce is added to its parameters; one that it has is replaced.
    """

    request: oip.ModelInferRequest
    input_digest: str = field(init=False)

    def __post_init__(self) -> None:
        # The receipt is the point of asking here.
        self.request.parameters["receipt"].bool_param = True
        digest = self.digest_of_inputs(read_inputs(self.request))
        object.__setattr__(self, "input_digest", digest)

    @property
    def alias(self) -> str:
        """The alias that is asked; empty where a version is."""
        if self.request.model_version:
            return ""
        named = self.request.parameters
        return named["alias"].string_param if "alias" in named else DEFAULT_ALIAS

    def with_nonce(self, nonce: str) -> oip.ModelInferRequest:
        """The request with that nonce; without one where it is empty."""
        request = oip.ModelInferRequest()
        request.CopyFrom(self.request)
        request.parameters.pop("nonce", None)
        if nonce:
            request.parameters["nonce"].string_param = nonce
        return request

    def digest_of_inputs(self, inputs: Mapping[str, Tensor]) -> str:
        """Return the digest of the inputs that the receipt must contain."""
        return digest_of(inputs.values())

    def digest_of_outputs(self, outputs: Mapping[str, Tensor]) -> str:
        """Return the digest of the outputs that the receipt must contain."""
        return digest_of(outputs.values())

    @classmethod
    def of(
        cls,
        model: str,
        inputs: Mapping[str, npt.ArrayLike],
        *,
        version: int | None = None,
        alias: str | None = None,
        outputs: Sequence[str] = (),
        subject: str | None = None,
        allowance: str | None = None,
        id: str = "",
    ) -> Self:
        """The question to `version` of a model, or to what `alias` names, `production` by default.

        `outputs` are those wanted, all by default; `subject` names the person whom the data is
        about; `allowance` is a second person's, where screening asked for one (STEP_UP). Raises
        SealgateError for arrays that the gateway would refuse: TENSOR_DATATYPE, TENSOR_NOT_FINITE.
        """
        request = oip.ModelInferRequest(
            model_name=model, model_version="" if version is None else str(version), id=id
        )
        texts = {"alias": alias, "subject": subject, "allowance": allowance}
        for name, value in texts.items():
            if value is not None:
                request.parameters[name].string_param = value
        for output in outputs:
            request.outputs.add(name=output)
        write_inputs(
            request, [Tensor.of(name, np.asarray(value)) for name, value in inputs.items()]
        )
        return cls(request)


@dataclass(frozen=True, slots=True)
class RequestAttempt:
    """A question as it was sent once: `request` has the nonce; `sizes` are those of the logs, and
    `since` the time, before the call.
    """

    question: PreparedRequest
    request: oip.ModelInferRequest
    sizes: Mapping[str, int]
    since: datetime

    def values(self) -> dict[str, Collection[str]]:
        """Return the values that the receipt must contain about the request, in any outcome."""
        return {
            "alias": (self.question.alias,),
            "parameters": (parameters_digest(self.request),),
            "request_id": (self.request.id,),
        }


def digest_of(tensors: Any) -> str:
    """The digest that a receipt has of tensors."""
    return tensors_digest((t.name, t.datatype, t.shape, t.raw) for t in tensors)
