"""Answers of the protocol's descriptive methods: metadata, configuration, statistics, index."""

import json
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from gateway.calls.params import ORDINARY
from inference.backends.remote.generator import Generator
from inference.engine import Duration, Executions, IndexedVersion, LiveVersion
from inference.llm import messages
from inference.model.config import ModelConfig
from inference.model.request_tensors import RequestTensor, TensorSpec
from sealgate.oip import grpc_service_pb2 as oip
from sealgate.tensors import DTYPES
from sealgate.trust.receipts.answer_entry import NONE
from sealgate.trust.times import format_time

PLATFORM = "onnxruntime_onnx"

_BACKEND = "onnxruntime"
_GENERATES = "transformers"
# The inputs of language models, of which a request has one, and their output.
_PROMPTS = (messages.TEXT_INPUT, messages.MESSAGES)
_ANSWERS = ((messages.TEXT_OUTPUT, "BYTES"), (messages.TOKEN_IDS, "INT64"))
_READY, _UNAVAILABLE = "READY", "UNAVAILABLE"
_LAST = datetime.max.replace(tzinfo=UTC).timestamp() - 1
# The data types that a model's configuration admits.
_DATA_TYPES = {name: oip.DataType.Value(f"TYPE_{name}") for name in DTYPES}
_DATA_TYPES["BYTES"] = oip.TYPE_STRING


def metadata(
    live: LiveVersion, versions: Iterable[int], expired: str = ""
) -> oip.ModelMetadataResponse:
    """The model's tensors, and until when it answers unless its freshness is renewed; `versions`
    are those that a live pointer names, `expired` is when the policy expired in whose grace they
    answer.
    """
    generates = isinstance(live.ready, Generator)
    response = oip.ModelMetadataResponse(
        name=live.model,
        versions=[str(number) for number in sorted(versions)],
        platform=_GENERATES if generates else PLATFORM,
        properties=_provenance(live)
        | {"covered_until": _time(live.until)}
        | ({"policy_expired": expired} if expired else {})
        | ({} if generates else _request(live.config)),
    )
    if generates:
        for name in _PROMPTS:
            response.inputs.add(name=name, datatype="BYTES", shape=(1,))
        for name, datatype in _ANSWERS:
            response.outputs.add(name=name, datatype=datatype, shape=(-1,))
        return response
    for specs, listed in (
        (live.config.inputs, response.inputs),
        ((live.config.output,), response.outputs),
    ):
        for spec in specs:
            listed.add(name=spec.name, datatype=spec.datatype, shape=spec.shape)
    return response


def config(live: LiveVersion, longest: float) -> oip.ModelConfig:
    """How a version is run; `longest` is how many seconds a request may take at most."""
    if isinstance(live.ready, Generator):
        return _generation(live)
    batching = live.config.batching
    message = oip.ModelConfig(
        name=live.model,
        platform=PLATFORM,
        backend=_BACKEND,
        max_batch_size=batching.max_rows,
        dynamic_batching=oip.ModelDynamicBatching(
            preferred_batch_size=batching.preferred_rows,
            max_queue_delay_microseconds=batching.delay_us,
            priority_levels=batching.priority_levels or ORDINARY,
            default_priority_level=batching.priority_levels or ORDINARY,
            default_queue_policy=oip.ModelQueuePolicy(
                timeout_action=oip.ModelQueuePolicy.REJECT,
                default_timeout_microseconds=min(
                    round(longest * 1e6), batching.timeout_us or round(longest * 1e6)
                ),
                allow_timeout_override=True,
                max_queue_size=batching.queue_rows,
            ),
        ),
        model_transaction_policy=oip.ModelTransactionPolicy(decoupled=False),
    )
    optional = _optional(live.config)
    message.input.extend(
        oip.ModelInput(**_tensor(spec), optional=spec.name in optional)
        for spec in live.config.inputs
    )
    message.output.append(oip.ModelOutput(**_tensor(live.config.output)))
    for name, value in _provenance(live).items():
        message.parameters[name].string_value = value
    return message


def _generation(live: LiveVersion) -> oip.ModelConfig:
    """A language model's: its answers come in parts, which the protocol calls decoupled."""
    message = oip.ModelConfig(
        name=live.model,
        platform=_GENERATES,
        backend=_GENERATES,
        model_transaction_policy=oip.ModelTransactionPolicy(decoupled=True),
    )
    for name in _PROMPTS:
        message.input.add(name=name, data_type=_DATA_TYPES["BYTES"], dims=(1,), optional=True)
    for name, datatype in _ANSWERS:
        message.output.add(name=name, data_type=_DATA_TYPES[datatype], dims=(-1,))
    for name, value in _provenance(live).items():
        message.parameters[name].string_value = value
    return message


def statistics(
    live: LiveVersion, withdrawn: str, history: list[oip.StatisticsSample]
) -> oip.ModelStatistics:
    """The counts of a version since it was loaded, and when its screening's bound was withdrawn."""
    report = live.report()
    return oip.ModelStatistics(
        name=live.model,
        version=str(live.version),
        last_inference=report.last_ms,
        inference_count=report.inferences,
        execution_count=report.executions,
        inference_stats=oip.InferStatistics(
            success=_duration(report.success),
            fail=_duration(report.fail),
            queue=_duration(report.queue),
            **_phases(report.by_request),
        ),
        batch_stats=[
            oip.InferBatchStatistics(batch_size=rows, **_phases(executions))
            for rows, executions in report.by_size.items()
        ],
        verdicts=report.verdicts,
        screening_withdrawn=withdrawn,
        history=history,
    )


def index_entry(item: IndexedVersion) -> oip.RepositoryIndexResponse.ModelIndex:
    return oip.RepositoryIndexResponse.ModelIndex(
        name=item.model,
        version=str(item.version) if item.version else "",
        state=_UNAVAILABLE if item.reason else _READY,
        reason=item.reason.name if item.reason else "",
    )


def _provenance(live: LiveVersion) -> dict[str, str]:
    found = {
        "digest": live.digest,
        "sequence": str(live.sequence),
        "policy": live.policy,
        "engine": live.ready.engine,
    }
    if not isinstance(live.ready, Generator):
        found["answer"] = live.config.decision.kind
        found |= {} if live.ready.detector.screens else {"screening": NONE}
    return found


def _time(seconds: float) -> str:
    """Seconds of the epoch as text; a policy may grant more of them than there are dates for."""
    return format_time(datetime.fromtimestamp(min(seconds, _LAST), UTC))


def _request(config: ModelConfig) -> dict[str, str]:
    """The labels, which inputs may be left out, and the words that each text may be."""
    told = {f"words.{each.name}": ",".join(each.words) for each in config.tensors if each.words}
    told["labels"] = json.dumps(config.labels, ensure_ascii=False)
    optional = _optional(config)
    return told | ({"optional_inputs": ",".join(sorted(optional))} if optional else {})


def _optional(config: ModelConfig) -> set[str]:
    return {each.name for each in config.tensors if each.default is not None}


def _tensor(spec: TensorSpec | RequestTensor) -> dict[str, Any]:
    return {"name": spec.name, "data_type": _DATA_TYPES[spec.datatype], "dims": spec.row}


def _duration(duration: Duration) -> oip.StatisticDuration:
    return oip.StatisticDuration(count=duration.count, ns=duration.ns)


def _phases(executions: Executions) -> dict[str, Any]:
    count, phases = executions.count, executions.phases
    return {
        "compute_input": oip.StatisticDuration(count=count, ns=phases.gather),
        "compute_infer": oip.StatisticDuration(count=count, ns=phases.infer),
        "compute_output": oip.StatisticDuration(count=count, ns=phases.part),
    }
