"""State of one generated answer in the pipeline, and the messages made from it."""

import logging
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import datetime

from gateway.calls.call import Call
from gateway.calls.params import InferenceParams, read_id, read_params
from inference.backends.remote.generator import StartedAnswer
from inference.engine import LiveVersion, Statistics
from inference.llm import messages
from inference.llm.answers import AnswerScreen
from inference.llm.messages import AnswerPart
from inference.llm.request import SamplingRequest, answer_digest
from inference.llm.terms import PromptScreen
from sealgate.oip import grpc_service_pb2 as oip
from sealgate.reasons import Reason, SealgateError
from sealgate.tensors import parameters_digest
from sealgate.trust.policy import Consequence
from sealgate.trust.receipts import Receipt
from sealgate.trust.receipts.answer_entry import BLOCKED, FULL, MASKED, NONE, NOTED

_log = logging.getLogger(__name__)

RECEIPT, OPENING, SEED = "receipt", "opening_receipt", "seed"
_NOTHING = AnswerPart((), b"")
# Parameters of `InferenceParams` that mean nothing for an answer that is generated.
_OF_CLASSIFIERS = ("session", "priority", "allowance")


def check_followed(request: oip.ModelInferRequest) -> None:
    """Refuse what nothing here would follow, so that nobody believes in it.

    Raises: PARAMETER_MALFORMED, OUTPUT_UNKNOWN.
    """
    for name in _OF_CLASSIFIERS:
        if name in request.parameters:
            raise SealgateError(Reason.PARAMETER_MALFORMED, name, facts={"param": name})
    if any(output.name not in messages.OUTPUTS for output in request.outputs):
        raise SealgateError(Reason.OUTPUT_UNKNOWN)


@dataclass(slots=True)
class GenerationContext:
    """A request's state so far; each of its entries has all that is known.

    `streams` says whether parts leave before the end, `full` whether who names no number of tokens
    gets as many as the version gives. `output_tokens` are those that are known: where ids are not
    told, none until the end says how many there were. `sent` is how many tokens the prompt has at
    most, once it may have reached who generates. `parameters` is the digest of the request's
    parameters, `screening` what screened the prompt. `policy` is the digest of that by which the
    prompt was judged, `actions` what it did to the answer, `screen` what looks at it. `engine` is
    where it is computed, if the process there said it. `opening` proves the first entry until a
    part has said so.
    """

    time: datetime
    began: float
    streams: bool
    full: bool
    parameters: str = ""
    request_id: str = ""
    params: InferenceParams | None = None
    asked: SamplingRequest | None = None
    live: LiveVersion | None = None
    has_begun: bool = False
    engine: str = ""
    prompt_ids: tuple[int, ...] = ()
    sent: int = 0
    prompt_tokens: int = 0
    output_tokens: int = 0
    verdict: str = ""
    score: str = ""
    threshold: str = ""
    screening: str = ""
    policy: str = ""
    actions: set[str] = field(default_factory=set)
    opening: Receipt | None = None
    ids: list[int] = field(default_factory=list)
    text: bytearray = field(default_factory=bytearray)
    last: AnswerPart = _NOTHING
    screen: AnswerScreen | None = None
    _waiting_since: float = 0.0

    @property
    def wants_receipt(self) -> bool:
        return self.params is not None and self.params.receipt

    @property
    def spent(self) -> int:
        """How many tokens of the answer a quota counts, also of those that a screen kept back:
        where nobody has said how many came, the most that their text can have, for none is
        shorter than a byte.
        """
        tokens, size = (self.screen.tokens, self.screen.size) if self.screen else (0, 0)
        return max(self.output_tokens, tokens) or max(len(self.text), size)

    @property
    def output(self) -> str:
        """The digest of what has come of the answer, empty where none has begun."""
        return answer_digest(self.prompt_ids, self.ids, bytes(self.text)) if self.has_begun else ""

    def read(self, request: oip.ModelInferRequest) -> InferenceParams:
        """The request's parameters apart from prompt and sampling. Raises: PARAMETER_MALFORMED, and
        as `read_question`.
        """
        self.request_id = read_id(request)
        self.parameters = parameters_digest(request)
        self.params = read_params(messages.without_sampling(request))
        return self.params

    def judged(self, policy: str, screen: PromptScreen | None, score: float | None) -> None:
        """Note the score of the prompt, None where nobody measured it, under that policy."""
        self.policy = policy
        self.screening = NONE if score is None else FULL
        if score is not None and screen is not None:
            self.verdict = screen.verdict(score)
            self.score, self.threshold = repr(score), repr(float(screen.threshold))

    def begin(self, begun: StartedAnswer) -> None:
        self.has_begun = True
        self.engine = begun.engine
        self.prompt_ids = begun.prompt_ids
        self.prompt_tokens = len(begun.prompt_ids)

    def add(self, piece: AnswerPart, statistics: Statistics) -> None:
        now, since = time.monotonic(), self._waiting_since or self.began
        new = len(piece.ids)
        if piece.usage is not None:
            self.prompt_tokens, new = piece.usage
        statistics.came(new, round((now - since) * 1e9), first=not self._waiting_since)
        self._waiting_since = now
        self.output_tokens += new
        self.ids.extend(piece.ids)
        self.text += piece.text
        if self.streams:
            self.last = piece
        elif piece.finish:
            self.last = AnswerPart(tuple(self.ids), bytes(self.text), piece.finish)

    def screened(self, screen: AnswerScreen) -> None:
        """Note what screening did to the answer, as far as it has come."""
        self.actions |= {MASKED} if Consequence.MASK in screen.acted else set()
        self.actions |= {BLOCKED} if screen.acted & {Consequence.CUT, Consequence.BLOCK} else set()
        self.actions |= {NOTED} if Consequence.RECORD in screen.acted else set()
        if screen.acted - {Consequence.RECORD} and self.verdict != "adversarial":
            self.verdict = "suspect"
        self.output_tokens = max(self.output_tokens, screen.tokens)

    def part(self, request: oip.ModelInferRequest) -> oip.ModelInferResponse:
        """The piece that came last. The first one has what proves the first entry, and tells the
        seed of tokens that are drawn: who named none could not ask for them again.
        """
        version = str(self.live.version) if self.live else ""
        response = oip.ModelInferResponse(
            model_name=request.model_name, model_version=version, id=request.id
        )
        wanted = self.params.outputs if self.params else ()
        messages.write_part(response, self.last, wanted or messages.OUTPUTS)
        opening, self.opening = self.opening, None
        if opening is not None:
            self._tell_seed(response)
            if self.wants_receipt:
                response.parameters[OPENING].string_param = opening.encode().decode()
        return response

    def end(self, request: oip.ModelInferRequest, receipt: Receipt) -> oip.ModelInferResponse:
        """The last part, or the whole answer; it tells the seed too."""
        response = self.part(request)
        self._tell_seed(response)
        response.parameters["prompt_tokens"].int64_param = self.prompt_tokens
        response.parameters["completion_tokens"].int64_param = self.output_tokens
        if self.wants_receipt:
            response.parameters[RECEIPT].string_param = receipt.encode().decode()
        return response

    def _tell_seed(self, response: oip.ModelInferResponse) -> None:
        if self.asked is not None and self.asked.sampling.temperature:
            response.parameters[SEED].int64_param = self.asked.sampling.seed


def is_callers(error: BaseException | None) -> bool:
    """Whether it is the caller who ended an answer: gone, or with too little time for it."""
    is_short = isinstance(error, SealgateError) and error.reason is Reason.DEADLINE_TOO_SHORT
    return is_short or isinstance(error, GeneratorExit)


def until_left(call: Call, leaving: ExitStack, end: Callable[[], None]) -> None:
    """Have `end` called when the call ends before the stack is left."""
    leaving.callback(call.cleanup.add(end))


def internal_error(call: Call, error: Exception) -> SealgateError:
    """Any other error ends the answer too, and the end is recorded."""
    _log.error("%s failed: %s", call.method, type(error).__name__, exc_info=error)
    return SealgateError(Reason.INTERNAL, type(error).__name__)
