"""The path of a generated answer, top to bottom.

The front door has authenticated the caller and found that the policy lets them ask. Then:

1. read what was asked: model, version or alias, prompt and sampling; the policy's rights must cover
   it;
2. resolve it to the live version, once: whatever moves meanwhile, that one answers to the end,
   unless it is revoked;
3. have the generator's process begin, which cuts the prompt into tokens and measures it;
4. decide by the policy whether a prompt so surprising may be answered;
5. where parts leave before the end, record that an answer begins (`opened`), durably, before the
   first one leaves;
6. let the parts leave as they come;
7. record how it ended, durably, before the last part leaves: `answered`, `cut` where the caller
   has gone, or the reason for which it failed, each with all token ids that came;
8. let the last part leave, with the receipt where it was asked for.

What has left has left. But nothing leaves unrecorded, and who is not told of a receipt at the end
knows that the end is not recorded.
"""

import logging
import secrets
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime

from gateway.front_door import Call, RecordedRefusal
from gateway.question import Question, read_question
from gateway.recorder import Outcome, Recorder
from gateway.rights import Rights
from inference.engine import Engine, Live
from inference.generation import Asked, answer_digest
from inference.remote import prompts
from inference.remote.calls import error_message
from inference.remote.generator import RemoteGenerator
from inference.remote.prompts import Piece
from inference.statistics import Ending, Statistics
from sealgate.oip import grpc_service_pb2 as oip
from sealgate.reasons import Reason, Refusal
from sealgate.trust.answer import CUT, OPENED
from sealgate.trust.policy import Policy
from sealgate.trust.policy_parts import FLAG, RECORD
from sealgate.trust.receipt import Receipt
from sealgate.trust.shares import SHADOW

_log = logging.getLogger(__name__)

RECEIPT, OPENING = "receipt", "opening_receipt"
_NOTHING = Piece((), b"")


@dataclass(slots=True)
class _Work:
    """What is known of a request so far; each of its entries says whatever there is.

    `streams` says whether parts leave before the end.
    """

    time: datetime
    began: float
    streams: bool
    question: Question | None = None
    asked: Asked | None = None
    live: Live | None = None
    prompt_ids: tuple[int, ...] = ()
    verdict: str = ""
    score: str = ""
    threshold: str = ""
    ids: list[int] = field(default_factory=list)
    text: bytearray = field(default_factory=bytearray)
    last: Piece = _NOTHING

    @property
    def wants_receipt(self) -> bool:
        return self.question is not None and self.question.receipt

    def add(self, piece: Piece) -> None:
        self.ids.extend(piece.ids)
        self.text += piece.text
        if self.streams:
            self.last = piece
        elif piece.finish:
            self.last = Piece(tuple(self.ids), bytes(self.text), piece.finish)


class Generate:
    """Answers what is asked of language models. `longest` is how many seconds an answer may take;
    `unresolved` counts requests that came to no version; `seed` draws one for those that need it
    and name none.
    """

    def __init__(
        self,
        engine: Engine,
        recorder: Recorder,
        policy: Callable[[], Policy],
        rights: Rights,
        clock: Callable[[], datetime],
        longest: float,
        unresolved: Statistics,
        seed: Callable[[], int] = lambda: secrets.randbelow(2**53),
    ) -> None:
        self._engine = engine
        self._recorder = recorder
        self._policy = policy
        self._rights = rights
        self._clock = clock
        self._longest = longest
        self._seed = seed
        self._unresolved = unresolved

    def generates(self, model: str) -> bool:
        """Whether a live version of that model is a language model."""
        lives = self._engine.live().items()
        return any(name == model and _is_generator(live) for (name, _), live in lives)

    def whole(self, request: oip.ModelInferRequest, call: Call) -> oip.ModelInferResponse:
        """The answer in one. Raises: RecordedRefusal; RECORD_FAILED unrecorded."""
        (response,) = self._answer(request, call, streams=False)
        return response

    def stream(
        self, request: oip.ModelInferRequest, call: Call
    ) -> Iterator[oip.ModelStreamInferResponse]:
        """The answer in parts, or a message that says why there is none."""
        try:
            for response in self._answer(request, call, prompts.wants_pieces(request)):
                yield oip.ModelStreamInferResponse(infer_response=response)
        except Refusal as refusal:
            told = oip.ModelInferResponse(id=request.id)
            told.parameters[prompts.FINAL].bool_param = True
            if isinstance(refusal, RecordedRefusal) and refusal.receipt is not None:
                told.parameters[RECEIPT].string_param = refusal.receipt.decode()
            message = error_message(refusal)
            yield oip.ModelStreamInferResponse(error_message=message, infer_response=told)

    def _answer(
        self, request: oip.ModelInferRequest, call: Call, streams: bool
    ) -> Iterator[oip.ModelInferResponse]:
        work = _Work(self._clock(), time.monotonic(), streams)
        # What an error is to the caller that is no refusal.
        reason = Reason.INTERNAL.name
        try:
            try:
                yield from self._parts(request, call, work)
            except Exception as error:
                refusal = error if isinstance(error, Refusal) else _internal(call, error)
                reason = refusal.reason.name
                gone = bool(work.prompt_ids) and not call.is_active()
                receipt = self._record(call, work, CUT if gone else reason)  # 7
                shown = receipt.encode() if work.wants_receipt else None
                raise RecordedRefusal(refusal, shown) from error
            except GeneratorExit:
                reason = CUT
                self._record(call, work, CUT)  # 7
                raise
            receipt = self._record(call, work, "answered")  # 7
            reason = ""
            yield _last(request, work, receipt)  # 8
        finally:
            statistics = work.live.ready.statistics if work.live else self._unresolved
            ns = round((time.monotonic() - work.began) * 1e9)
            statistics.ended(Ending(work.verdict, reason), ns)

    def _parts(
        self, request: oip.ModelInferRequest, call: Call, work: _Work
    ) -> Iterator[oip.ModelInferResponse]:
        """Steps 1 to 6: all parts but the last, which is left in `work`."""
        question = work.question = read_question(prompts.without_sampling(request))  # 1
        self._rights.check(call, "infer", question.model, question.alias)
        live = work.live = self._engine.resolve(  # 2
            question.model, question.version, question.alias
        )
        ready = live.ready
        if live.alias == SHADOW:
            raise Refusal(Reason.VERSION_NOT_LIVE, "shadow answers nobody")
        if not isinstance(ready, RemoteGenerator):
            raise Refusal(Reason.METHOD_UNSUITED, "no language model")
        asked = work.asked = prompts.read_asked(request, self._seed)
        until = work.began + self._granted(question, call)
        caller = call.principal.name
        with ready.begin(asked, until, caller, lambda end: _when_over(call, end)) as begun:  # 3
            work.prompt_ids = begun.prompt_ids
            self._judge(call, work, ready, begun.score)  # 4
            opening = self._record(call, work, OPENED) if work.streams else None  # 5
            for piece in begun.pieces:  # 6
                if self._engine.is_revoked(live.digest):
                    raise Refusal(Reason.VERSION_REVOKED, live.digest)
                work.add(piece)
                if work.streams and not piece.finish:
                    yield _part(request, work, opening)
                    opening = None

    def _judge(self, call: Call, work: _Work, ready: RemoteGenerator, score: float) -> None:
        """Raises: ADVERSARIAL_INPUT. No part of an answer can be withheld later, so whatever does
        more than flag blocks.
        """
        screen, policy = ready.terms.screening, self._policy()
        work.verdict = screen.verdict(score)
        work.score, work.threshold = repr(score), repr(float(screen.threshold))
        said = policy.screen(work.question.model if work.question else "")
        action = said.action(work.verdict, call.principal.roles, policy.rules)
        # Its time must not tell what screening did.
        time.sleep(max(0.0, said.hold_ms / 1000 - (time.monotonic() - work.began)))
        if action not in (FLAG, RECORD):
            raise Refusal(Reason.ADVERSARIAL_INPUT)

    def _granted(self, question: Question, call: Call) -> float:
        """How many seconds the answer may take: neither wish may lengthen what is configured."""
        wishes = (call.time_remaining(), question.timeout)
        return min([self._longest, *(wish for wish in wishes if wish is not None)])

    def _record(self, call: Call, work: _Work, outcome: str) -> Receipt:
        """Raises: RECORD_FAILED, QUEUE_FULL, DRAINING; nothing has been recorded then."""
        live, question = work.live, work.question
        principal = call.principal.name
        ended = outcome != OPENED and bool(work.prompt_ids)
        output = answer_digest(work.prompt_ids, work.ids, bytes(work.text)) if ended else ""
        return self._recorder.record(
            Outcome(
                subject=(question and question.subject) or principal,
                time=work.time,
                principal=principal,
                method=call.method,
                model=question.model if question else "",
                version=str(live.version) if live else "",
                version_digest=live.digest if live else "",
                pointer_sequence=str(live.sequence) if live else "",
                policy_digest=live.policy if live else self._policy().digest,
                input=work.asked.digest if work.asked else "",
                output=output,
                outcome=outcome,
                verdict=work.verdict,
                score=work.score,
                threshold=work.threshold,
                # One entry of each run says that it was one.
                engine=live.ready.engine if live and outcome != OPENED else "",
            )
        )


def _is_generator(live: Live) -> bool:
    return isinstance(live.ready, RemoteGenerator)


def _internal(call: Call, error: Exception) -> Refusal:
    """What is no refusal ends an answer all the same, and its end is recorded."""
    _log.error("%s failed: %s", call.method, type(error).__name__, exc_info=error)
    return Refusal(Reason.INTERNAL, type(error).__name__)


def _when_over(call: Call, end: Callable[[], None]) -> None:
    """Have `end` called when the call ends, however it does."""
    if not call.add_callback(end):
        end()


def _part(
    request: oip.ModelInferRequest, work: _Work, opening: Receipt | None
) -> oip.ModelInferResponse:
    response = _response(request, work)
    prompts.write_piece(response, work.last)
    if opening is not None and work.wants_receipt:
        response.parameters[OPENING].string_param = opening.encode().decode()
    return response


def _last(request: oip.ModelInferRequest, work: _Work, receipt: Receipt) -> oip.ModelInferResponse:
    response = _part(request, work, None)
    response.parameters["prompt_tokens"].int64_param = len(work.prompt_ids)
    response.parameters["completion_tokens"].int64_param = len(work.ids)
    if work.wants_receipt:
        response.parameters[RECEIPT].string_param = receipt.encode().decode()
    return response


def _response(request: oip.ModelInferRequest, work: _Work) -> oip.ModelInferResponse:
    version = str(work.live.version) if work.live else ""
    return oip.ModelInferResponse(
        model_name=request.model_name, model_version=version, id=request.id
    )
