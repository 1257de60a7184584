"""Every metric that an engine in a process of its own shows."""

from gateway.observability.families import (
    ALIAS,
    COUNTER,
    GAUGE,
    HISTOGRAM,
    SUMMARY,
    VERSION,
    Family,
)

QUEUE_ROWS = Family(
    "sealgate_engine_queue_rows", GAUGE, VERSION, "Rows that wait for their batch at this moment"
)
QUEUE_SECONDS = Family(
    "sealgate_engine_queue_seconds",
    SUMMARY,
    VERSION,
    "How long requests waited for their batch",
)
DROPPED = Family(
    "sealgate_engine_dropped_total",
    COUNTER,
    VERSION,
    "Requests that ran out of time, lost their caller, made room in the queue, or were in a batch "
    "that failed",
)
BATCH_SECONDS = Family(
    "sealgate_engine_batch_seconds",
    SUMMARY,
    VERSION,
    "How long batches took: gathering rows, screening, inference, parting them; on Ray, the way to "
    "a replica and back too",
)
BATCH_ROWS = Family("sealgate_engine_batch_rows", HISTOGRAM, VERSION, "How many rows batches had")
SCREENING_SECONDS = Family(
    "sealgate_engine_screening_seconds",
    SUMMARY,
    VERSION,
    "How long runs of the screening graph took, those that check it at load among them; none where "
    "replicas run it",
)
INFERENCE_SECONDS = Family(
    "sealgate_engine_inference_seconds", SUMMARY, VERSION, "The same of the graph that answers"
)
FAULTS = Family(
    "sealgate_engine_faults_total",
    COUNTER,
    (*VERSION, "fault"),
    "What went wrong with runs and was put right: out_of_memory, run_ended, sessions_replaced",
)
POINTER_SEQUENCE = Family(
    "sealgate_engine_pointer_sequence",
    GAUGE,
    ALIAS,
    "The sequence of the pointer that the engine follows for an alias",
)
VERSION_READY = Family(
    "sealgate_engine_version_ready",
    GAUGE,
    (*VERSION, "reason"),
    "1 for a version that a pointer names and that answers, or else 0 and why",
)
REPLICAS = Family(
    "sealgate_engine_replicas",
    GAUGE,
    (),
    "Replicas on Ray that answer; none where the engine runs graphs itself",
)
READY = Family("sealgate_engine_ready", GAUGE, (), "1 while /readyz says yes, or else 0")

ENGINE_FAMILIES = (
    QUEUE_ROWS,
    QUEUE_SECONDS,
    DROPPED,
    BATCH_SECONDS,
    BATCH_ROWS,
    SCREENING_SECONDS,
    INFERENCE_SECONDS,
    FAULTS,
    POINTER_SEQUENCE,
    VERSION_READY,
    REPLICAS,
    READY,
)
