from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class ReportOutcomesRequest(_message.Message):
    __slots__ = ("origin", "reports", "request_id")
    ORIGIN_FIELD_NUMBER: _ClassVar[int]
    REPORTS_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    origin: str
    reports: _containers.RepeatedCompositeFieldContainer[OutcomeReport]
    request_id: str
    def __init__(self, origin: _Optional[str] = ..., reports: _Optional[_Iterable[_Union[OutcomeReport, _Mapping]]] = ..., request_id: _Optional[str] = ...) -> None: ...

class OutcomeReport(_message.Message):
    __slots__ = ("index", "outputs", "truths", "groups")
    class GroupsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    INDEX_FIELD_NUMBER: _ClassVar[int]
    OUTPUTS_FIELD_NUMBER: _ClassVar[int]
    TRUTHS_FIELD_NUMBER: _ClassVar[int]
    GROUPS_FIELD_NUMBER: _ClassVar[int]
    index: int
    outputs: _containers.RepeatedCompositeFieldContainer[AnswerTensor]
    truths: _containers.RepeatedCompositeFieldContainer[TrueOutcome]
    groups: _containers.ScalarMap[str, str]
    def __init__(self, index: _Optional[int] = ..., outputs: _Optional[_Iterable[_Union[AnswerTensor, _Mapping]]] = ..., truths: _Optional[_Iterable[_Union[TrueOutcome, _Mapping]]] = ..., groups: _Optional[_Mapping[str, str]] = ...) -> None: ...

class AnswerTensor(_message.Message):
    __slots__ = ("name", "datatype", "shape", "raw")
    NAME_FIELD_NUMBER: _ClassVar[int]
    DATATYPE_FIELD_NUMBER: _ClassVar[int]
    SHAPE_FIELD_NUMBER: _ClassVar[int]
    RAW_FIELD_NUMBER: _ClassVar[int]
    name: str
    datatype: str
    shape: _containers.RepeatedScalarFieldContainer[int]
    raw: bytes
    def __init__(self, name: _Optional[str] = ..., datatype: _Optional[str] = ..., shape: _Optional[_Iterable[int]] = ..., raw: _Optional[bytes] = ...) -> None: ...

class TrueOutcome(_message.Message):
    __slots__ = ("labels", "numbers")
    LABELS_FIELD_NUMBER: _ClassVar[int]
    NUMBERS_FIELD_NUMBER: _ClassVar[int]
    labels: _containers.RepeatedScalarFieldContainer[str]
    numbers: _containers.RepeatedScalarFieldContainer[float]
    def __init__(self, labels: _Optional[_Iterable[str]] = ..., numbers: _Optional[_Iterable[float]] = ...) -> None: ...

class ReportOutcomesResponse(_message.Message):
    __slots__ = ("results",)
    RESULTS_FIELD_NUMBER: _ClassVar[int]
    results: _containers.RepeatedCompositeFieldContainer[OutcomeResult]
    def __init__(self, results: _Optional[_Iterable[_Union[OutcomeResult, _Mapping]]] = ...) -> None: ...

class OutcomeResult(_message.Message):
    __slots__ = ("index", "entry", "reason")
    INDEX_FIELD_NUMBER: _ClassVar[int]
    ENTRY_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    index: int
    entry: int
    reason: str
    def __init__(self, index: _Optional[int] = ..., entry: _Optional[int] = ..., reason: _Optional[str] = ...) -> None: ...

class GetOutcomesRequest(_message.Message):
    __slots__ = ("model",)
    MODEL_FIELD_NUMBER: _ClassVar[int]
    model: str
    def __init__(self, model: _Optional[str] = ...) -> None: ...

class GetOutcomesResponse(_message.Message):
    __slots__ = ("series",)
    SERIES_FIELD_NUMBER: _ClassVar[int]
    series: _containers.RepeatedCompositeFieldContainer[OutcomeSeries]
    def __init__(self, series: _Optional[_Iterable[_Union[OutcomeSeries, _Mapping]]] = ...) -> None: ...

class OutcomeSeries(_message.Message):
    __slots__ = ("alias", "version", "version_digest", "pointer_sequence", "window_seconds", "figures", "points", "bins", "groups", "columns", "finding", "first_entry", "last_entry")
    ALIAS_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    VERSION_DIGEST_FIELD_NUMBER: _ClassVar[int]
    POINTER_SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    WINDOW_SECONDS_FIELD_NUMBER: _ClassVar[int]
    FIGURES_FIELD_NUMBER: _ClassVar[int]
    POINTS_FIELD_NUMBER: _ClassVar[int]
    BINS_FIELD_NUMBER: _ClassVar[int]
    GROUPS_FIELD_NUMBER: _ClassVar[int]
    COLUMNS_FIELD_NUMBER: _ClassVar[int]
    FINDING_FIELD_NUMBER: _ClassVar[int]
    FIRST_ENTRY_FIELD_NUMBER: _ClassVar[int]
    LAST_ENTRY_FIELD_NUMBER: _ClassVar[int]
    alias: str
    version: int
    version_digest: str
    pointer_sequence: int
    window_seconds: int
    figures: OutcomeFigures
    points: _containers.RepeatedCompositeFieldContainer[OutcomePoint]
    bins: _containers.RepeatedCompositeFieldContainer[CalibrationBin]
    groups: _containers.RepeatedCompositeFieldContainer[GroupFigures]
    columns: _containers.RepeatedCompositeFieldContainer[ColumnDrift]
    finding: str
    first_entry: int
    last_entry: int
    def __init__(self, alias: _Optional[str] = ..., version: _Optional[int] = ..., version_digest: _Optional[str] = ..., pointer_sequence: _Optional[int] = ..., window_seconds: _Optional[int] = ..., figures: _Optional[_Union[OutcomeFigures, _Mapping]] = ..., points: _Optional[_Iterable[_Union[OutcomePoint, _Mapping]]] = ..., bins: _Optional[_Iterable[_Union[CalibrationBin, _Mapping]]] = ..., groups: _Optional[_Iterable[_Union[GroupFigures, _Mapping]]] = ..., columns: _Optional[_Iterable[_Union[ColumnDrift, _Mapping]]] = ..., finding: _Optional[str] = ..., first_entry: _Optional[int] = ..., last_entry: _Optional[int] = ...) -> None: ...

class OutcomeFigures(_message.Message):
    __slots__ = ("outcomes", "accuracy", "ece", "mean_error")
    OUTCOMES_FIELD_NUMBER: _ClassVar[int]
    ACCURACY_FIELD_NUMBER: _ClassVar[int]
    ECE_FIELD_NUMBER: _ClassVar[int]
    MEAN_ERROR_FIELD_NUMBER: _ClassVar[int]
    outcomes: int
    accuracy: float
    ece: float
    mean_error: float
    def __init__(self, outcomes: _Optional[int] = ..., accuracy: _Optional[float] = ..., ece: _Optional[float] = ..., mean_error: _Optional[float] = ...) -> None: ...

class OutcomePoint(_message.Message):
    __slots__ = ("time", "outcomes", "accuracy")
    TIME_FIELD_NUMBER: _ClassVar[int]
    OUTCOMES_FIELD_NUMBER: _ClassVar[int]
    ACCURACY_FIELD_NUMBER: _ClassVar[int]
    time: int
    outcomes: int
    accuracy: float
    def __init__(self, time: _Optional[int] = ..., outcomes: _Optional[int] = ..., accuracy: _Optional[float] = ...) -> None: ...

class CalibrationBin(_message.Message):
    __slots__ = ("lower", "outcomes", "confidence", "accuracy")
    LOWER_FIELD_NUMBER: _ClassVar[int]
    OUTCOMES_FIELD_NUMBER: _ClassVar[int]
    CONFIDENCE_FIELD_NUMBER: _ClassVar[int]
    ACCURACY_FIELD_NUMBER: _ClassVar[int]
    lower: float
    outcomes: int
    confidence: float
    accuracy: float
    def __init__(self, lower: _Optional[float] = ..., outcomes: _Optional[int] = ..., confidence: _Optional[float] = ..., accuracy: _Optional[float] = ...) -> None: ...

class GroupFigures(_message.Message):
    __slots__ = ("attribute", "group", "outcomes", "error")
    ATTRIBUTE_FIELD_NUMBER: _ClassVar[int]
    GROUP_FIELD_NUMBER: _ClassVar[int]
    OUTCOMES_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    attribute: str
    group: str
    outcomes: int
    error: float
    def __init__(self, attribute: _Optional[str] = ..., group: _Optional[str] = ..., outcomes: _Optional[int] = ..., error: _Optional[float] = ...) -> None: ...

class ColumnDrift(_message.Message):
    __slots__ = ("column", "rows", "psi", "ks")
    COLUMN_FIELD_NUMBER: _ClassVar[int]
    ROWS_FIELD_NUMBER: _ClassVar[int]
    PSI_FIELD_NUMBER: _ClassVar[int]
    KS_FIELD_NUMBER: _ClassVar[int]
    column: str
    rows: int
    psi: float
    ks: float
    def __init__(self, column: _Optional[str] = ..., rows: _Optional[int] = ..., psi: _Optional[float] = ..., ks: _Optional[float] = ...) -> None: ...
