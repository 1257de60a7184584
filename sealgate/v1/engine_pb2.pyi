from sealgate.oip import grpc_service_pb2 as _grpc_service_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class GetCountsRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class GetCountsResponse(_message.Message):
    __slots__ = ("envelope",)
    ENVELOPE_FIELD_NUMBER: _ClassVar[int]
    envelope: bytes
    def __init__(self, envelope: _Optional[bytes] = ...) -> None: ...

class GetCostsRequest(_message.Message):
    __slots__ = ("model", "version", "digest")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    model: str
    version: str
    digest: str
    def __init__(self, model: _Optional[str] = ..., version: _Optional[str] = ..., digest: _Optional[str] = ...) -> None: ...

class GetCostsResponse(_message.Message):
    __slots__ = ("batches", "lanes", "place")
    BATCHES_FIELD_NUMBER: _ClassVar[int]
    LANES_FIELD_NUMBER: _ClassVar[int]
    PLACE_FIELD_NUMBER: _ClassVar[int]
    batches: _containers.RepeatedCompositeFieldContainer[BatchCost]
    lanes: int
    place: str
    def __init__(self, batches: _Optional[_Iterable[_Union[BatchCost, _Mapping]]] = ..., lanes: _Optional[int] = ..., place: _Optional[str] = ...) -> None: ...

class BatchCost(_message.Message):
    __slots__ = ("rows", "seconds")
    ROWS_FIELD_NUMBER: _ClassVar[int]
    SECONDS_FIELD_NUMBER: _ClassVar[int]
    rows: int
    seconds: float
    def __init__(self, rows: _Optional[int] = ..., seconds: _Optional[float] = ...) -> None: ...

class InferBurstRequest(_message.Message):
    __slots__ = ("rows", "items")
    ROWS_FIELD_NUMBER: _ClassVar[int]
    ITEMS_FIELD_NUMBER: _ClassVar[int]
    rows: _grpc_service_pb2.ModelInferRequest
    items: _containers.RepeatedCompositeFieldContainer[BurstItem]
    def __init__(self, rows: _Optional[_Union[_grpc_service_pb2.ModelInferRequest, _Mapping]] = ..., items: _Optional[_Iterable[_Union[BurstItem, _Mapping]]] = ...) -> None: ...

class BurstItem(_message.Message):
    __slots__ = ("rows", "caller", "urgent", "seconds")
    ROWS_FIELD_NUMBER: _ClassVar[int]
    CALLER_FIELD_NUMBER: _ClassVar[int]
    URGENT_FIELD_NUMBER: _ClassVar[int]
    SECONDS_FIELD_NUMBER: _ClassVar[int]
    rows: int
    caller: str
    urgent: bool
    seconds: float
    def __init__(self, rows: _Optional[int] = ..., caller: _Optional[str] = ..., urgent: _Optional[bool] = ..., seconds: _Optional[float] = ...) -> None: ...

class InferBurstResponse(_message.Message):
    __slots__ = ("rows", "refusals")
    ROWS_FIELD_NUMBER: _ClassVar[int]
    REFUSALS_FIELD_NUMBER: _ClassVar[int]
    rows: _grpc_service_pb2.ModelInferResponse
    refusals: _containers.RepeatedCompositeFieldContainer[BurstRefusal]
    def __init__(self, rows: _Optional[_Union[_grpc_service_pb2.ModelInferResponse, _Mapping]] = ..., refusals: _Optional[_Iterable[_Union[BurstRefusal, _Mapping]]] = ...) -> None: ...

class BurstRefusal(_message.Message):
    __slots__ = ("place", "reason", "retry_seconds")
    PLACE_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    RETRY_SECONDS_FIELD_NUMBER: _ClassVar[int]
    place: int
    reason: str
    retry_seconds: float
    def __init__(self, place: _Optional[int] = ..., reason: _Optional[str] = ..., retry_seconds: _Optional[float] = ...) -> None: ...
