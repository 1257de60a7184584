from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable
from typing import ClassVar as _ClassVar, Optional as _Optional

DESCRIPTOR: _descriptor.FileDescriptor

class ListLogsRequest(_message.Message):
    __slots__ = ("page_size", "page_token", "filter")
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    FILTER_FIELD_NUMBER: _ClassVar[int]
    page_size: int
    page_token: str
    filter: str
    def __init__(self, page_size: _Optional[int] = ..., page_token: _Optional[str] = ..., filter: _Optional[str] = ...) -> None: ...

class ListLogsResponse(_message.Message):
    __slots__ = ("origins", "next_page_token")
    ORIGINS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    origins: _containers.RepeatedScalarFieldContainer[str]
    next_page_token: str
    def __init__(self, origins: _Optional[_Iterable[str]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class GetCheckpointRequest(_message.Message):
    __slots__ = ("origin",)
    ORIGIN_FIELD_NUMBER: _ClassVar[int]
    origin: str
    def __init__(self, origin: _Optional[str] = ...) -> None: ...

class GetCheckpointResponse(_message.Message):
    __slots__ = ("note", "witnessed_note", "first", "conflict", "stamped_time", "stamped_size", "stamp_seconds")
    NOTE_FIELD_NUMBER: _ClassVar[int]
    WITNESSED_NOTE_FIELD_NUMBER: _ClassVar[int]
    FIRST_FIELD_NUMBER: _ClassVar[int]
    CONFLICT_FIELD_NUMBER: _ClassVar[int]
    STAMPED_TIME_FIELD_NUMBER: _ClassVar[int]
    STAMPED_SIZE_FIELD_NUMBER: _ClassVar[int]
    STAMP_SECONDS_FIELD_NUMBER: _ClassVar[int]
    note: str
    witnessed_note: str
    first: int
    conflict: str
    stamped_time: str
    stamped_size: int
    stamp_seconds: float
    def __init__(self, note: _Optional[str] = ..., witnessed_note: _Optional[str] = ..., first: _Optional[int] = ..., conflict: _Optional[str] = ..., stamped_time: _Optional[str] = ..., stamped_size: _Optional[int] = ..., stamp_seconds: _Optional[float] = ...) -> None: ...

class GetEntryRequest(_message.Message):
    __slots__ = ("origin", "index")
    ORIGIN_FIELD_NUMBER: _ClassVar[int]
    INDEX_FIELD_NUMBER: _ClassVar[int]
    origin: str
    index: int
    def __init__(self, origin: _Optional[str] = ..., index: _Optional[int] = ...) -> None: ...

class GetEntryResponse(_message.Message):
    __slots__ = ("leaf",)
    LEAF_FIELD_NUMBER: _ClassVar[int]
    leaf: bytes
    def __init__(self, leaf: _Optional[bytes] = ...) -> None: ...

class StreamEntriesRequest(_message.Message):
    __slots__ = ("origin", "start", "end")
    ORIGIN_FIELD_NUMBER: _ClassVar[int]
    START_FIELD_NUMBER: _ClassVar[int]
    END_FIELD_NUMBER: _ClassVar[int]
    origin: str
    start: int
    end: int
    def __init__(self, origin: _Optional[str] = ..., start: _Optional[int] = ..., end: _Optional[int] = ...) -> None: ...

class StreamEntriesResponse(_message.Message):
    __slots__ = ("leaves",)
    LEAVES_FIELD_NUMBER: _ClassVar[int]
    leaves: _containers.RepeatedScalarFieldContainer[bytes]
    def __init__(self, leaves: _Optional[_Iterable[bytes]] = ...) -> None: ...

class StreamHashesRequest(_message.Message):
    __slots__ = ("origin", "start", "end", "level")
    ORIGIN_FIELD_NUMBER: _ClassVar[int]
    START_FIELD_NUMBER: _ClassVar[int]
    END_FIELD_NUMBER: _ClassVar[int]
    LEVEL_FIELD_NUMBER: _ClassVar[int]
    origin: str
    start: int
    end: int
    level: int
    def __init__(self, origin: _Optional[str] = ..., start: _Optional[int] = ..., end: _Optional[int] = ..., level: _Optional[int] = ...) -> None: ...

class StreamHashesResponse(_message.Message):
    __slots__ = ("hashes", "level")
    HASHES_FIELD_NUMBER: _ClassVar[int]
    LEVEL_FIELD_NUMBER: _ClassVar[int]
    hashes: bytes
    level: int
    def __init__(self, hashes: _Optional[bytes] = ..., level: _Optional[int] = ...) -> None: ...

class EraseSubjectRequest(_message.Message):
    __slots__ = ("origin", "subject", "request_id")
    ORIGIN_FIELD_NUMBER: _ClassVar[int]
    SUBJECT_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    origin: str
    subject: str
    request_id: str
    def __init__(self, origin: _Optional[str] = ..., subject: _Optional[str] = ..., request_id: _Optional[str] = ...) -> None: ...

class EraseSubjectResponse(_message.Message):
    __slots__ = ("pseudonym", "entries")
    PSEUDONYM_FIELD_NUMBER: _ClassVar[int]
    ENTRIES_FIELD_NUMBER: _ClassVar[int]
    pseudonym: str
    entries: int
    def __init__(self, pseudonym: _Optional[str] = ..., entries: _Optional[int] = ...) -> None: ...

class OpenEntryRequest(_message.Message):
    __slots__ = ("origin", "index")
    ORIGIN_FIELD_NUMBER: _ClassVar[int]
    INDEX_FIELD_NUMBER: _ClassVar[int]
    origin: str
    index: int
    def __init__(self, origin: _Optional[str] = ..., index: _Optional[int] = ...) -> None: ...

class OpenEntryResponse(_message.Message):
    __slots__ = ("receipt",)
    RECEIPT_FIELD_NUMBER: _ClassVar[int]
    receipt: bytes
    def __init__(self, receipt: _Optional[bytes] = ...) -> None: ...

class GetInclusionProofRequest(_message.Message):
    __slots__ = ("origin", "index", "size")
    ORIGIN_FIELD_NUMBER: _ClassVar[int]
    INDEX_FIELD_NUMBER: _ClassVar[int]
    SIZE_FIELD_NUMBER: _ClassVar[int]
    origin: str
    index: int
    size: int
    def __init__(self, origin: _Optional[str] = ..., index: _Optional[int] = ..., size: _Optional[int] = ...) -> None: ...

class GetInclusionProofResponse(_message.Message):
    __slots__ = ("hashes",)
    HASHES_FIELD_NUMBER: _ClassVar[int]
    hashes: _containers.RepeatedScalarFieldContainer[bytes]
    def __init__(self, hashes: _Optional[_Iterable[bytes]] = ...) -> None: ...

class GetConsistencyProofRequest(_message.Message):
    __slots__ = ("origin", "old_size", "new_size")
    ORIGIN_FIELD_NUMBER: _ClassVar[int]
    OLD_SIZE_FIELD_NUMBER: _ClassVar[int]
    NEW_SIZE_FIELD_NUMBER: _ClassVar[int]
    origin: str
    old_size: int
    new_size: int
    def __init__(self, origin: _Optional[str] = ..., old_size: _Optional[int] = ..., new_size: _Optional[int] = ...) -> None: ...

class GetConsistencyProofResponse(_message.Message):
    __slots__ = ("hashes",)
    HASHES_FIELD_NUMBER: _ClassVar[int]
    hashes: _containers.RepeatedScalarFieldContainer[bytes]
    def __init__(self, hashes: _Optional[_Iterable[bytes]] = ...) -> None: ...

class WatchLogRequest(_message.Message):
    __slots__ = ("origin", "start")
    ORIGIN_FIELD_NUMBER: _ClassVar[int]
    START_FIELD_NUMBER: _ClassVar[int]
    origin: str
    start: int
    def __init__(self, origin: _Optional[str] = ..., start: _Optional[int] = ...) -> None: ...

class WatchLogResponse(_message.Message):
    __slots__ = ("index", "leaves", "note")
    INDEX_FIELD_NUMBER: _ClassVar[int]
    LEAVES_FIELD_NUMBER: _ClassVar[int]
    NOTE_FIELD_NUMBER: _ClassVar[int]
    index: int
    leaves: _containers.RepeatedScalarFieldContainer[bytes]
    note: str
    def __init__(self, index: _Optional[int] = ..., leaves: _Optional[_Iterable[bytes]] = ..., note: _Optional[str] = ...) -> None: ...

class GetCoseReceiptRequest(_message.Message):
    __slots__ = ("origin", "index")
    ORIGIN_FIELD_NUMBER: _ClassVar[int]
    INDEX_FIELD_NUMBER: _ClassVar[int]
    origin: str
    index: int
    def __init__(self, origin: _Optional[str] = ..., index: _Optional[int] = ...) -> None: ...

class GetCoseReceiptResponse(_message.Message):
    __slots__ = ("receipt",)
    RECEIPT_FIELD_NUMBER: _ClassVar[int]
    receipt: bytes
    def __init__(self, receipt: _Optional[bytes] = ...) -> None: ...

class GetTransparentStatementRequest(_message.Message):
    __slots__ = ("origin", "index")
    ORIGIN_FIELD_NUMBER: _ClassVar[int]
    INDEX_FIELD_NUMBER: _ClassVar[int]
    origin: str
    index: int
    def __init__(self, origin: _Optional[str] = ..., index: _Optional[int] = ...) -> None: ...

class GetTransparentStatementResponse(_message.Message):
    __slots__ = ("statement",)
    STATEMENT_FIELD_NUMBER: _ClassVar[int]
    statement: bytes
    def __init__(self, statement: _Optional[bytes] = ...) -> None: ...

class StreamTimestampsRequest(_message.Message):
    __slots__ = ("origin",)
    ORIGIN_FIELD_NUMBER: _ClassVar[int]
    origin: str
    def __init__(self, origin: _Optional[str] = ...) -> None: ...

class StreamTimestampsResponse(_message.Message):
    __slots__ = ("note", "stamp")
    NOTE_FIELD_NUMBER: _ClassVar[int]
    STAMP_FIELD_NUMBER: _ClassVar[int]
    note: str
    stamp: bytes
    def __init__(self, note: _Optional[str] = ..., stamp: _Optional[bytes] = ...) -> None: ...
