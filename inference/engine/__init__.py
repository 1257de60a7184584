"""Engine: verifies versions, loads them, publishes the live table and resolves requests."""

from inference.batching import RequestOptions
from inference.engine.batch_run import FLOAT32_TOLERANCE, ServingTarget
from inference.engine.engine import Engine
from inference.engine.graphs import (
    TappedGraph,
    check_response,
    counted,
    open_classifier,
    open_response,
    open_tapped,
)
from inference.engine.live_table import IndexedVersion, LiveVersion, QueuedVersion, ServableVersion
from inference.engine.ready_version import ReadyVersion
from inference.engine.result import InferenceResult, split_results
from inference.engine.statistics import (
    WAIT_BOUNDS,
    BatchPhases,
    Duration,
    Executions,
    RequestEnding,
    RunFault,
    Statistics,
    VersionStatistics,
    WaitHistogram,
)
from inference.engine.table_update import VersionLoader
from inference.engine.trust_state import Place, RollbackGuardFile, TrustAnchor, UntrustedSnapshot
from inference.engine.version_verifier import (
    FileSource,
    SignedManifest,
    Source,
    VerifiedPointer,
    read_file,
    read_files,
)

__all__ = [
    "FLOAT32_TOLERANCE",
    "WAIT_BOUNDS",
    "BatchPhases",
    "Duration",
    "Engine",
    "Executions",
    "FileSource",
    "IndexedVersion",
    "InferenceResult",
    "LiveVersion",
    "Place",
    "QueuedVersion",
    "ReadyVersion",
    "RequestEnding",
    "RequestOptions",
    "RollbackGuardFile",
    "RunFault",
    "ServableVersion",
    "ServingTarget",
    "SignedManifest",
    "Source",
    "Statistics",
    "TappedGraph",
    "TrustAnchor",
    "UntrustedSnapshot",
    "VerifiedPointer",
    "VersionLoader",
    "VersionStatistics",
    "WaitHistogram",
    "check_response",
    "counted",
    "open_classifier",
    "open_response",
    "open_tapped",
    "read_file",
    "read_files",
    "split_results",
]
