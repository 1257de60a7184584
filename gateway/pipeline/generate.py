"""The generation pipeline: the steps of a generated answer, from request to record.

The auth interceptor has authenticated the caller and checked the method against the policy. Then:

1. read what was asked: model, version or alias, prompt and sampling; the policy's rights must cover
   it;
2. resolve it to the live version, once: whatever moves meanwhile, that one answers to the end,
   unless it is revoked;
3. set aside what the caller's quota has of tokens, and have the generator's process begin, which
   cuts the prompt into tokens and measures it;
4. decide by the policy whether a prompt so surprising may be answered, and one in which the
   classifier that the policy names, if it does, finds an injection;
5. where parts leave before the end, record that an answer begins (`opened`), durably, before the
   first one leaves;
6. let the parts leave as they come, or where the policy has rules for answers, as the screen that
   holds them back lets them (`inference.llm.answers`);
7. record how it ended, durably, before the last part leaves: `answered`, `cut` where the caller
   has gone, or the reason for which it failed, such as that the policy in force at the end does not
   let the caller ask; each with all token ids that came;
8. let the last part leave, with the receipt where it was asked for.

Parts that have left cannot be taken back. But nothing leaves unrecorded, and a caller that gets no
receipt at the end knows that the end is not recorded. A refusal by a quota is only counted, as in
the auth interceptor.
"""

import logging
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from datetime import datetime
from functools import partial

from gateway.admission import COUNTED, QuotaLimiter
from gateway.calls.call import Call, RecordedRefusal, line_of_call
from gateway.calls.params import InferenceParams
from gateway.pipeline.enforcement import Enforcement, requested_seconds
from gateway.pipeline.generation_context import (
    RECEIPT,
    GenerationContext,
    check_followed,
    internal_error,
    is_callers,
    until_left,
)
from gateway.recording import AuditRecorder, actions_of, record_of
from gateway.screening import PromptClassifier
from inference.backends.remote.generator import Generator
from inference.backends.remote.messages import error_message
from inference.engine import Engine, LiveVersion, RequestEnding, Statistics
from inference.llm import messages
from inference.llm.answers import AnswerScreen
from inference.llm.messages import AnswerPart
from inference.llm.request import said_in
from sealgate.oip import grpc_service_pb2 as oip
from sealgate.reasons import Reason, SealgateError
from sealgate.trust.policy import AnswerRules, Consequence, ScreeningRules
from sealgate.trust.receipts import Receipt
from sealgate.trust.receipts.answer_entry import CUT, NOTED, OPENED

_log = logging.getLogger(__name__)


class GenerationPipeline:
    """Answers what is asked of language models. `longest` is how many seconds an answer may take;
    `unresolved` counts requests that came to no version; `seed` draws one for those that need it
    and name none.
    """

    def __init__(
        self,
        engine: Engine,
        recorder: AuditRecorder,
        enforcement: Enforcement,
        quotas: QuotaLimiter,
        clock: Callable[[], datetime],
        longest: float,
        unresolved: Statistics,
        seed: Callable[[], int] = lambda: secrets.randbelow(2**53),
    ) -> None:
        self._engine = engine
        self._recorder = recorder
        self._enforcement = enforcement
        self._quotas = quotas
        self._clock = clock
        self._longest = longest
        self._seed = seed
        self._prompt_classifier = PromptClassifier(engine)
        self._unresolved = unresolved
        # The language models that are live, and the table that says so.
        self._generators: tuple[object, frozenset[str]] = (None, frozenset())
        self._ended = threading.Condition()
        self.running = 0

    def generates(self, model: str) -> bool:
        """Whether a live version of that model is a language model."""
        lives = self._engine.live()
        under, generators = self._generators
        if under is not lives:
            found = (name for (name, _), live in lives.items() if _is_generator(live))
            generators = frozenset(found)
            # Together, so that nothing is ever said by another table.
            self._generators = lives, generators
        return model in generators

    def wait(self, seconds: float) -> None:
        """Returns when every answer has been recorded that had begun, or after so many seconds:
        whoever stops a server ends its calls, and does not wait for what those have yet to do.
        """
        with self._ended:
            self._ended.wait_for(lambda: not self.running, seconds)

    def whole(self, request: oip.ModelInferRequest, call: Call) -> oip.ModelInferResponse:
        """The answer in one. Raises: RecordedRefusal; RECORD_FAILED unrecorded."""
        (response,) = self.parts(request, call, streams=False)
        return response

    def stream(
        self, request: oip.ModelInferRequest, call: Call
    ) -> Iterator[oip.ModelStreamInferResponse]:
        """The answer in parts, or a message that says why there is none.

        Raises: TOKENS_SPENT, QUOTA_UNKNOWN, as do other quotas on a stream.
        """
        try:
            for response in self.parts(request, call, messages.wants_parts(request)):
                yield oip.ModelStreamInferResponse(infer_response=response)
        except SealgateError as refusal:
            if refusal.reason in COUNTED:
                raise
            told = oip.ModelInferResponse(id=request.id)
            told.parameters[messages.FINAL].bool_param = True
            if isinstance(refusal, RecordedRefusal) and refusal.receipt is not None:
                told.parameters[RECEIPT].string_param = refusal.receipt.decode()
            message = error_message(refusal)
            yield oip.ModelStreamInferResponse(error_message=message, infer_response=told)

    def parts(
        self, request: oip.ModelInferRequest, call: Call, streams: bool, full: bool = False
    ) -> Iterator[oip.ModelInferResponse]:
        """The answer as its parts come, or where it does not stream as one. With `full`, a caller
        that names no `max_tokens` gets as many as the version gives.

        Raises: RecordedRefusal; RECORD_FAILED unrecorded, TOKENS_SPENT, QUOTA_UNKNOWN.
        """
        context = GenerationContext(self._clock(), time.monotonic(), streams, full)
        log = line_of_call()
        with self._ended:
            self.running += 1
        # The reason for an error that is no refusal.
        reason = Reason.INTERNAL.name
        try:
            try:
                yield from self._parts(request, call, context)
            except Exception as error:
                refusal = error if isinstance(error, SealgateError) else internal_error(call, error)
                reason = refusal.reason.name
                if refusal.reason in COUNTED:
                    raise
                gone = context.has_begun and not call.is_active()
                receipt = self._record(call, context, CUT if gone else reason)  # 7
                shown = receipt.encode() if context.wants_receipt else None
                raise RecordedRefusal(refusal, shown) from error
            except GeneratorExit:
                reason = CUT
                self._record(call, context, CUT)  # 7
                raise
            receipt = self._record(call, context, "answered")  # 7
            reason = ""
            yield context.end(request, receipt)  # 8
        finally:
            statistics = context.live.ready.statistics if context.live else self._unresolved
            ns = round((time.monotonic() - context.began) * 1e9)
            statistics.ended(RequestEnding(context.verdict, reason), ns)
            if context.live is not None:
                log.ran(context.live.model, context.live.version, context.verdict)
            with self._ended:
                self.running -= 1
                self._ended.notify_all()

    def _parts(
        self, request: oip.ModelInferRequest, call: Call, context: GenerationContext
    ) -> Iterator[oip.ModelInferResponse]:
        """Steps 1 to 6: all parts but the last, which is left in `work`."""
        params = context.read(request)  # 1
        live = context.live = self._enforcement.resolve(call, params)  # 2
        self._enforcement.check_answers(live)
        ready = live.ready
        if not isinstance(ready, Generator):
            raise SealgateError(Reason.METHOD_UNSUITED, "no language model")
        check_followed(request)
        tokens = ready.terms.output_tokens if context.full else messages.DEFAULT_TOKENS
        asked = context.asked = messages.read_sampling_request(request, self._seed, tokens)
        until = context.began + self._granted(params, call)
        caller = call.principal
        with ExitStack() as leaving:
            self._set_aside(call, context, asked.sampling.max_tokens, leaving)  # 3
            on_end = partial(until_left, call, leaving)
            # No token is shorter than a byte.
            context.sent = min(len(asked.prompt), ready.terms.prompt_tokens)
            begun = leaving.enter_context(ready.begin(asked, until, caller.name, on_end))
            if begun.prompt_ids:
                self._quotas.spend(caller, len(begun.prompt_ids))
            context.begin(begun)
            screen = self._judge(call, context, ready, begun.score, until)  # 4
            context.opening = self._record(call, context, OPENED) if context.streams else None  # 5
            for piece in self._screened(call, begun.pieces, context, screen.answers, until):  # 6
                if self._engine.is_revoked(live.model, live.digest):
                    raise SealgateError(Reason.VERSION_REVOKED, live.digest)
                context.add(piece, live.statistics)
                if context.streams and not piece.finish:
                    yield context.part(request)
        if not context.streams:
            self._check_still(call, context, params)  # 7

    def _check_still(self, call: Call, context: GenerationContext, params: InferenceParams) -> None:
        """`Enforcement.check_again` by the policy in force. Parts are checked as they leave."""
        policy = self._enforcement.policy()
        try:
            self._enforcement.check_again(policy, call, params)
        except SealgateError:
            context.policy = policy.digest
            raise

    def _screened(
        self,
        call: Call,
        pieces: Iterator[AnswerPart],
        context: GenerationContext,
        rules: AnswerRules | None,
        until: float,
    ) -> Iterator[AnswerPart]:
        """The pieces as rules for answers let them leave. Raises: ANSWER_WITHHELD, and as
        `PromptClassifier.of_answers`.
        """
        if rules is None or context.asked is None:
            yield from pieces
            return
        prompts = [text for role, text in said_in(context.asked) if role == "system"]
        classify = None
        if rules.classifier is not None:
            classify = self._prompt_classifier.of_answers(rules.classifier, until, call)
        screen = context.screen = AnswerScreen(
            rules, prompts, classify, context.asked.sampling.stop
        )
        try:
            yield from screen.over(pieces)
        finally:
            context.screened(screen)
            if screen.kinds:
                line_of_call().leaked = True
                model = context.params.model if context.params else ""
                _log.warning("an answer of %s held %s", model, ", ".join(sorted(screen.kinds)))

    def _set_aside(
        self, call: Call, context: GenerationContext, tokens: int, leaving: ExitStack
    ) -> None:
        """Reserve the tokens that an answer may have; when it is over, count those that it had.

        Raises: TOKENS_SPENT, QUOTA_UNKNOWN.
        """
        settle = self._quotas.reserve(call.principal, tokens)

        def count(_: object, error: BaseException | None, __: object) -> None:
            settle(min(context.spent, tokens))
            if context.live is not None:
                context.live.statistics.began(context.prompt_tokens)
            # A foreign server reports the prompt's tokens at the end only, which is too late for a
            # refusal. A caller that leaves earlier has had the prompt read all the same.
            left = is_callers(error) or (error is not None and not call.is_active())
            prompt = context.prompt_tokens or (context.sent if context.spent or left else 0)
            if prompt and not context.prompt_ids:
                with suppress(SealgateError):
                    self._quotas.spend(call.principal, prompt)

        leaving.push(count)

    def _judge(
        self,
        call: Call,
        context: GenerationContext,
        ready: Generator,
        score: float | None,
        until: float,
    ) -> ScreeningRules:
        """Decide by the policy in force, which the record names, and return its rules for the
        model: those for answers are applied as well, whatever follows it meanwhile.

        Raises: ADVERSARIAL_INPUT, PROMPT_INJECTION, and as `PromptClassifier` and
        `Enforcement.check_again`. No part of an answer can be withheld later, so whatever does more
        than flag blocks.
        """
        policy = self._enforcement.policy()
        context.judged(policy.digest, ready.terms.screening, score)
        if context.params is not None:
            self._enforcement.check_again(policy, call, context.params)
        verdict = context.verdict
        screen = policy.screen(context.params.model if context.params else "")
        injected = self._prompt_classifier.follows(screen.guard, context.asked, until, call)
        line_of_call().injected = injected in (Consequence.BLOCK, Consequence.FLAG)
        if injected in (Consequence.BLOCK, Consequence.FLAG) and verdict != "adversarial":
            context.verdict = "suspect"
        elif injected == Consequence.RECORD:
            context.actions.add(NOTED)
        # Its time must not tell what screening did.
        self._enforcement.delay.wait_least(screen, context.began)
        self._enforcement.decide_prompt(
            policy, screen, call.principal, verdict, score is not None, injected
        )
        return screen

    def _granted(self, params: InferenceParams, call: Call) -> float:
        """How many seconds the answer may take: neither wish may lengthen what is configured."""
        own = requested_seconds(call, params)
        return self._longest if own is None else min(self._longest, own)

    def _record(self, call: Call, context: GenerationContext, outcome: str) -> Receipt:
        """Raises: RECORD_FAILED, QUEUE_FULL, DRAINING; nothing has been recorded then."""
        live = context.live
        output = context.output if outcome != OPENED else ""
        return self._recorder.record(
            record_of(
                call,
                context.time,
                context.params,
                live,
                context.policy,
                self._enforcement.policy,
                input=context.asked.digest if context.asked else "",
                output=output,
                outcome=outcome,
                verdict=context.verdict,
                score=context.score,
                threshold=context.threshold,
                # One entry of each run says that it was one.
                engine=(context.engine or live.ready.engine) if live and outcome != OPENED else "",
                parameters=context.parameters,
                request_id=context.request_id,
                screening=context.screening,
                arithmetic=live.ready.arithmetic if live and output else "",
                actions=actions_of(outcome, context.actions),
            )
        )


def _is_generator(live: LiveVersion) -> bool:
    return isinstance(live.ready, Generator)
