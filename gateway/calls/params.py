"""Parameters of a ModelInfer request: all that it asks for, apart from its tensors."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

from sealgate.oip import grpc_service_pb2 as oip
from sealgate.reasons import Reason, SealgateError
from sealgate.trust.dsse import Envelope
from sealgate.trust.fields import check_name, version_number
from sealgate.trust.policy import DEFAULT_ALIAS

Parameter: TypeAlias = str | bool | int

_NONCE = re.compile(r"[A-Za-z0-9_-]{22,64}")
_OPAQUE = re.compile(r"[!-~]{1,128}")
_LONGEST_ID = 128
_LONGEST_ALLOWANCE = 8192
# The parameters, with the types that each may have.
_KINDS = {
    "alias": ("string_param",),
    "receipt": ("bool_param",),
    "subject": ("string_param",),
    "session": ("string_param",),
    "priority": ("int64_param", "uint64_param"),
    "timeout": ("int64_param",),
    "allowance": ("string_param",),
    "nonce": ("string_param",),
    # Triton's perf_analyzer sends it always. Streams end with a last part as it is.
    "triton_enable_empty_final_response": ("bool_param",),
}
URGENT = 1
"""The highest priority."""
ORDINARY = 2
"""The lowest priority, and the default."""


@dataclass(frozen=True, slots=True)
class InferenceParams:
    """A request's addressee and parameters.

    Either `version` or `alias` is given, never both. `subject` is the opaque name of the person
    whom the data is about, empty where none was named. `named` says whether the request itself
    names version or alias; where it does not, what `canary` answers of a `session` (opaque, empty
    for none) it answers of all of it. `outputs` are those asked for, empty for all of them.
    `timeout` is how many seconds the request may take, None for as many as usual. `allowance` is a
    second person's, unverified.
    """

    model: str
    version: int | None
    alias: str | None
    outputs: tuple[str, ...]
    receipt: bool
    subject: str
    urgent: bool
    timeout: float | None
    named: bool
    session: str
    allowance: Envelope | None = None


def read_params(request: oip.ModelInferRequest) -> InferenceParams:
    """Raises: NAME_MALFORMED, VERSION_MALFORMED, PARAMETER_MALFORMED, TENSOR_DUPLICATE;
    DOCUMENT_MALFORMED for an allowance that is no envelope.
    """
    read_id(request)
    model = check_name(request.model_name, Reason.NAME_MALFORMED)
    parameters = {name: _parameter(name, value) for name, value in request.parameters.items()}
    version = read_version(request.model_version)
    alias = None
    if version is None:
        alias = check_name(str(parameters.get("alias", DEFAULT_ALIAS)), Reason.NAME_MALFORMED)
    elif "alias" in parameters:
        raise SealgateError(Reason.PARAMETER_MALFORMED, "both a version and an alias")
    outputs = tuple(output.name for output in request.outputs)
    if len(set(outputs)) != len(outputs):
        raise SealgateError(Reason.TENSOR_DUPLICATE)
    _check_nonce(parameters)
    subject, session = _opaque(parameters, "subject"), _opaque(parameters, "session")
    receipt = bool(parameters.get("receipt", False))
    urgent = _number(parameters, "priority", most=ORDINARY) == URGENT
    timeout = _number(parameters, "timeout") / 1e6 or None
    named = version is not None or "alias" in parameters
    allowance = _allowance(str(parameters.get("allowance", "")))
    return InferenceParams(
        model, version, alias, outputs, receipt, subject, urgent, timeout, named, session, allowance
    )


def read_id(request: oip.ModelInferRequest) -> str:
    """The caller's own id for a request, empty where it has none. Raises: PARAMETER_MALFORMED."""
    return check_id(request.id, "id")


def check_id(text: str, field: str) -> str:
    """An id that a caller chose, for a request's `field`. Raises: PARAMETER_MALFORMED."""
    if len(text) > _LONGEST_ID or not text.isprintable():
        raise SealgateError(Reason.PARAMETER_MALFORMED, field)
    return text


def read_version(text: str) -> int | None:
    """A version as the protocol writes it; None where the server is to pick.

    Raises: VERSION_MALFORMED.
    """
    return version_number(text) if text else None


def _parameter(name: str, value: oip.InferParameter) -> Parameter:
    kind = value.WhichOneof("parameter_choice")
    if kind is None or kind not in _KINDS.get(name, ()):
        raise SealgateError(Reason.PARAMETER_MALFORMED, name[:64])
    parameter: Parameter = getattr(value, kind)
    return parameter


def _opaque(parameters: Mapping[str, Parameter], name: str) -> str:
    """A word that means nothing here, empty where there is none."""
    word = str(parameters.get(name, ""))
    if name in parameters and not _OPAQUE.fullmatch(word):
        raise SealgateError(Reason.PARAMETER_MALFORMED, name)
    return word


def _check_nonce(parameters: Mapping[str, Parameter]) -> None:
    """A caller's nonce is only recorded, in the digest of the parameters."""
    if "nonce" in parameters and not _NONCE.fullmatch(str(parameters["nonce"])):
        raise SealgateError(Reason.PARAMETER_MALFORMED, "nonce", facts={"param": "nonce"})


def _allowance(text: str) -> Envelope | None:
    if len(text) > _LONGEST_ALLOWANCE:
        raise SealgateError(Reason.PARAMETER_MALFORMED, "allowance")
    return Envelope.decode(text.encode()) if text else None


def _number(parameters: Mapping[str, Parameter], name: str, most: int | None = None) -> int:
    """A number from 0, which stands for the default, to `most`."""
    number = int(parameters.get(name, 0))
    if number < 0 or (most is not None and number > most):
        raise SealgateError(Reason.PARAMETER_MALFORMED, name)
    return number
