"""Watermarks: marks in a model's weights that show whose it is, which version, and for whom."""

from publishing.watermark.carrier_weights import read_carriers
from publishing.watermark.detection import (
    MARK_THRESHOLD,
    MarkDetection,
    detect_named,
    read_code,
    weights_of,
)
from publishing.watermark.file_marking import mark_file, mark_integers, mark_model, mark_shards
from publishing.watermark.graph_marking import (
    MARK_CAPACITY,
    PAYLOAD_CAPACITY,
    MarkedGraphs,
    embed_mark,
    spread_mark,
)
from publishing.watermark.identification import (
    CopyRecord,
    FetchCopy,
    IdentifiedMark,
    MarkedCopy,
    colluders_named,
    find_mark,
    save_copy,
    spread_copy,
)
from publishing.watermark.key import (
    MARK_PAYLOAD_BYTES,
    MARK_SECRET_BYTES,
    Mark,
    WatermarkCode,
    WatermarkKey,
    load_watermark_key,
)
from publishing.watermark.mark_records import (
    MarkRecord,
    WeightSlot,
    kept_marks,
    key_path,
    mark_path,
    new_mark,
    save_mark,
    watermark_folder,
)
from publishing.watermark.ownership import OwnershipClaim, OwnershipProof, settle
from publishing.watermark.safetensors_file import TensorFile

__all__ = [
    "MARK_CAPACITY",
    "MARK_PAYLOAD_BYTES",
    "MARK_SECRET_BYTES",
    "MARK_THRESHOLD",
    "PAYLOAD_CAPACITY",
    "CopyRecord",
    "FetchCopy",
    "IdentifiedMark",
    "Mark",
    "MarkDetection",
    "MarkRecord",
    "MarkedCopy",
    "MarkedGraphs",
    "OwnershipClaim",
    "OwnershipProof",
    "TensorFile",
    "WatermarkCode",
    "WatermarkKey",
    "WeightSlot",
    "colluders_named",
    "detect_named",
    "embed_mark",
    "find_mark",
    "kept_marks",
    "key_path",
    "load_watermark_key",
    "mark_file",
    "mark_integers",
    "mark_model",
    "mark_path",
    "mark_shards",
    "new_mark",
    "read_carriers",
    "read_code",
    "save_copy",
    "save_mark",
    "settle",
    "spread_copy",
    "spread_mark",
    "watermark_folder",
    "weights_of",
]
