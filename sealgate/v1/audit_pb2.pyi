from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class ProvenEntry(_message.Message):
    __slots__ = ("index", "leaf", "hashes", "documents")
    INDEX_FIELD_NUMBER: _ClassVar[int]
    LEAF_FIELD_NUMBER: _ClassVar[int]
    HASHES_FIELD_NUMBER: _ClassVar[int]
    DOCUMENTS_FIELD_NUMBER: _ClassVar[int]
    index: int
    leaf: bytes
    hashes: _containers.RepeatedScalarFieldContainer[bytes]
    documents: _containers.RepeatedScalarFieldContainer[bytes]
    def __init__(self, index: _Optional[int] = ..., leaf: _Optional[bytes] = ..., hashes: _Optional[_Iterable[bytes]] = ..., documents: _Optional[_Iterable[bytes]] = ...) -> None: ...

class GetLiveAtRequest(_message.Message):
    __slots__ = ("time", "model")
    TIME_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    time: str
    model: str
    def __init__(self, time: _Optional[str] = ..., model: _Optional[str] = ...) -> None: ...

class GetLiveAtResponse(_message.Message):
    __slots__ = ("note", "freshness", "entries")
    NOTE_FIELD_NUMBER: _ClassVar[int]
    FRESHNESS_FIELD_NUMBER: _ClassVar[int]
    ENTRIES_FIELD_NUMBER: _ClassVar[int]
    note: str
    freshness: bytes
    entries: _containers.RepeatedCompositeFieldContainer[ProvenEntry]
    def __init__(self, note: _Optional[str] = ..., freshness: _Optional[bytes] = ..., entries: _Optional[_Iterable[_Union[ProvenEntry, _Mapping]]] = ...) -> None: ...

class GetDecisionRequest(_message.Message):
    __slots__ = ("model", "version_digest", "pointer_sequence", "allowance")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    VERSION_DIGEST_FIELD_NUMBER: _ClassVar[int]
    POINTER_SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    ALLOWANCE_FIELD_NUMBER: _ClassVar[int]
    model: str
    version_digest: str
    pointer_sequence: int
    allowance: str
    def __init__(self, model: _Optional[str] = ..., version_digest: _Optional[str] = ..., pointer_sequence: _Optional[int] = ..., allowance: _Optional[str] = ...) -> None: ...

class GetDecisionResponse(_message.Message):
    __slots__ = ("note", "freshness", "entries")
    NOTE_FIELD_NUMBER: _ClassVar[int]
    FRESHNESS_FIELD_NUMBER: _ClassVar[int]
    ENTRIES_FIELD_NUMBER: _ClassVar[int]
    note: str
    freshness: bytes
    entries: _containers.RepeatedCompositeFieldContainer[ProvenEntry]
    def __init__(self, note: _Optional[str] = ..., freshness: _Optional[bytes] = ..., entries: _Optional[_Iterable[_Union[ProvenEntry, _Mapping]]] = ...) -> None: ...

class StreamRecordsRequest(_message.Message):
    __slots__ = ("start", "end")
    START_FIELD_NUMBER: _ClassVar[int]
    END_FIELD_NUMBER: _ClassVar[int]
    start: int
    end: int
    def __init__(self, start: _Optional[int] = ..., end: _Optional[int] = ...) -> None: ...

class StreamRecordsResponse(_message.Message):
    __slots__ = ("entries",)
    ENTRIES_FIELD_NUMBER: _ClassVar[int]
    entries: _containers.RepeatedCompositeFieldContainer[ProvenEntry]
    def __init__(self, entries: _Optional[_Iterable[_Union[ProvenEntry, _Mapping]]] = ...) -> None: ...

class StreamOpeningsRequest(_message.Message):
    __slots__ = ("origin", "start", "end", "values", "where")
    class WhereEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    ORIGIN_FIELD_NUMBER: _ClassVar[int]
    START_FIELD_NUMBER: _ClassVar[int]
    END_FIELD_NUMBER: _ClassVar[int]
    VALUES_FIELD_NUMBER: _ClassVar[int]
    WHERE_FIELD_NUMBER: _ClassVar[int]
    origin: str
    start: int
    end: int
    values: _containers.RepeatedScalarFieldContainer[str]
    where: _containers.ScalarMap[str, str]
    def __init__(self, origin: _Optional[str] = ..., start: _Optional[int] = ..., end: _Optional[int] = ..., values: _Optional[_Iterable[str]] = ..., where: _Optional[_Mapping[str, str]] = ...) -> None: ...

class StreamOpeningsResponse(_message.Message):
    __slots__ = ("next", "receipts", "unopened")
    NEXT_FIELD_NUMBER: _ClassVar[int]
    RECEIPTS_FIELD_NUMBER: _ClassVar[int]
    UNOPENED_FIELD_NUMBER: _ClassVar[int]
    next: int
    receipts: _containers.RepeatedScalarFieldContainer[bytes]
    unopened: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, next: _Optional[int] = ..., receipts: _Optional[_Iterable[bytes]] = ..., unopened: _Optional[_Iterable[int]] = ...) -> None: ...

class ListFlaggedSessionsRequest(_message.Message):
    __slots__ = ("after",)
    AFTER_FIELD_NUMBER: _ClassVar[int]
    after: str
    def __init__(self, after: _Optional[str] = ...) -> None: ...

class ListFlaggedSessionsResponse(_message.Message):
    __slots__ = ("sessions",)
    SESSIONS_FIELD_NUMBER: _ClassVar[int]
    sessions: _containers.RepeatedCompositeFieldContainer[FlaggedSession]
    def __init__(self, sessions: _Optional[_Iterable[_Union[FlaggedSession, _Mapping]]] = ...) -> None: ...

class FlaggedSession(_message.Message):
    __slots__ = ("id", "time", "principal", "model", "action")
    ID_FIELD_NUMBER: _ClassVar[int]
    TIME_FIELD_NUMBER: _ClassVar[int]
    PRINCIPAL_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    ACTION_FIELD_NUMBER: _ClassVar[int]
    id: str
    time: str
    principal: str
    model: str
    action: str
    def __init__(self, id: _Optional[str] = ..., time: _Optional[str] = ..., principal: _Optional[str] = ..., model: _Optional[str] = ..., action: _Optional[str] = ...) -> None: ...
