"""What the registry has of the versions that a publisher marked: files, and proofs."""

from collections.abc import Sequence

import grpc

from inference.engine import ready_version as version_files
from inference.llm.request import is_generator
from publishing.graphs import parse_model
from publishing.watermark.finding import FetchCopy
from publishing.watermark.key import load_watermark_key
from publishing.watermark.records import MarkRecord, kept_marks, key_path, watermark_folder
from publishing.watermark.weights import Floats, read_carriers
from sealgate.cli.policy_chain import policy_history
from sealgate.reasons import Reason, Refusal
from sealgate.remote import Profile
from sealgate.signed_version import SignedVersion
from sealgate.trust.transparency import TlogProof
from sealgate.v1 import log_pb2 as logs
from sealgate.v1 import registry_pb2 as messages
from sealgate.v1.log_pb2_grpc import LogServiceStub
from sealgate.v1.registry_pb2_grpc import RegistryServiceStub


def fetcher(person: Profile, channel: grpc.Channel) -> FetchCopy:
    """Fetches a version's marked weights by its digest; None for what was never registered."""

    def fetch(record: MarkRecord) -> Sequence[Floats] | None:
        model = record.mark.key.model
        registry = RegistryServiceStub(channel)
        asked = messages.ListVersionsRequest(
            model=model, filter=f'digest = "{record.version_digest}"'
        )
        found = registry.ListVersions(asked).versions
        if not found:
            return None
        version = int(found[0].name.rpartition("/")[2])
        if is_generator(_signed(person, channel, model, version).manifest):
            # Its weights are no graph of which neurons could be matched.
            return None
        _, data = fp32_of(person, channel, model, version)
        by_name = {each.name: each.values for each in read_carriers(parse_model(data))}
        return [by_name[slot.name] for slot in record.slots]

    return fetch


def fp32_of(
    person: Profile, channel: grpc.Channel, model: str, version: int
) -> tuple[SignedVersion, bytes]:
    """The signed version with its marked float32 model. Raises Refusal like `SignedVersion`."""
    signed = _signed(person, channel, model, version)
    return signed, signed.file(RegistryServiceStub(channel), version_files.FP32)


def _signed(person: Profile, channel: grpc.Channel, model: str, version: int) -> SignedVersion:
    registry = RegistryServiceStub(channel)
    return SignedVersion.fetch(registry, policy_history(person, channel), model, version)


def record_of(person: Profile, model: str, digest: str) -> MarkRecord:
    """The mark of a version. Raises Refusal(COMMITMENT_UNKNOWN), and as `load_mark`."""
    folder = watermark_folder(person)
    key = load_watermark_key(key_path(folder, model))
    found = next((r for r in kept_marks(folder, key) if r.version_digest == digest), None)
    if found is None:
        raise Refusal(Reason.COMMITMENT_UNKNOWN, f"this profile keeps no mark of {digest}")
    return found


def log_proof(
    person: Profile, channel: grpc.Channel, record: MarkRecord
) -> tuple[bytes, TlogProof]:
    """The entry that holds a mark's commitment, and the proof that the registry's log holds it.

    Entries are the auditor's to read, but whoever committed gets theirs by committing again.
    Raises Refusal(LOG_INCONSISTENT) where it is not the entry of then.
    """
    asked = messages.CommitWatermarkRequest(
        model=record.mark.key.model, commitment=record.mark.commitment
    )
    committed = RegistryServiceStub(channel).CommitWatermark(asked)
    if committed.entry != record.entry:
        raise Refusal(Reason.LOG_INCONSISTENT, f"the log has lost entry {record.entry}")
    log = LogServiceStub(channel)
    origin = policy_history(person, channel)[-1].registry_log.partition("+")[0]
    note = log.GetCheckpoint(logs.GetCheckpointRequest(origin=origin)).note
    size = int(note.split("\n")[1])
    wanted = logs.GetInclusionProofRequest(origin=origin, index=record.entry, size=size)
    hashes = tuple(log.GetInclusionProof(wanted).hashes)
    return committed.leaf, TlogProof(record.entry, hashes, note)
