from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Iterable as _Iterable, Mapping as _Mapping, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class FrameKind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    FRAME_KIND_UNSPECIFIED: _ClassVar[FrameKind]
    FRAME_KIND_KERNEL: _ClassVar[FrameKind]
    FRAME_KIND_NATIVE: _ClassVar[FrameKind]

class Origin(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ORIGIN_UNSPECIFIED: _ClassVar[Origin]
    ORIGIN_ENVIRONMENT: _ClassVar[Origin]
    ORIGIN_AUTOMAXPROCS: _ClassVar[Origin]
    ORIGIN_CALL: _ClassVar[Origin]
    ORIGIN_CONTAINER_DEFAULT: _ClassVar[Origin]
    ORIGIN_CPU_COUNT: _ClassVar[Origin]
    ORIGIN_FIXED_DEFAULT: _ClassVar[Origin]
    ORIGIN_CRIO: _ClassVar[Origin]

class Verdict(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    VERDICT_UNSPECIFIED: _ClassVar[Verdict]
    VERDICT_OVERSIZED: _ClassVar[Verdict]
    VERDICT_MISMATCH: _ClassVar[Verdict]
    VERDICT_FITS: _ClassVar[Verdict]
    VERDICT_UNLIMITED: _ClassVar[Verdict]
    VERDICT_TOO_FEW_SAMPLES: _ClassVar[Verdict]
    VERDICT_UNREADABLE: _ClassVar[Verdict]

class Severity(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    SEVERITY_UNSPECIFIED: _ClassVar[Severity]
    SEVERITY_INFO: _ClassVar[Severity]
    SEVERITY_WARNING: _ClassVar[Severity]

class Confidence(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    CONFIDENCE_UNSPECIFIED: _ClassVar[Confidence]
    CONFIDENCE_LOW: _ClassVar[Confidence]
    CONFIDENCE_MEDIUM: _ClassVar[Confidence]
    CONFIDENCE_HIGH: _ClassVar[Confidence]
FRAME_KIND_UNSPECIFIED: FrameKind
FRAME_KIND_KERNEL: FrameKind
FRAME_KIND_NATIVE: FrameKind
ORIGIN_UNSPECIFIED: Origin
ORIGIN_ENVIRONMENT: Origin
ORIGIN_AUTOMAXPROCS: Origin
ORIGIN_CALL: Origin
ORIGIN_CONTAINER_DEFAULT: Origin
ORIGIN_CPU_COUNT: Origin
ORIGIN_FIXED_DEFAULT: Origin
ORIGIN_CRIO: Origin
VERDICT_UNSPECIFIED: Verdict
VERDICT_OVERSIZED: Verdict
VERDICT_MISMATCH: Verdict
VERDICT_FITS: Verdict
VERDICT_UNLIMITED: Verdict
VERDICT_TOO_FEW_SAMPLES: Verdict
VERDICT_UNREADABLE: Verdict
SEVERITY_UNSPECIFIED: Severity
SEVERITY_INFO: Severity
SEVERITY_WARNING: Severity
CONFIDENCE_UNSPECIFIED: Confidence
CONFIDENCE_LOW: Confidence
CONFIDENCE_MEDIUM: Confidence
CONFIDENCE_HIGH: Confidence

class Report(_message.Message):
    __slots__ = ("epoch", "sequence", "dictionary", "window")
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    DICTIONARY_FIELD_NUMBER: _ClassVar[int]
    WINDOW_FIELD_NUMBER: _ClassVar[int]
    epoch: int
    sequence: int
    dictionary: Dictionary
    window: Window
    def __init__(self, epoch: _Optional[int] = ..., sequence: _Optional[int] = ..., dictionary: _Optional[_Union[Dictionary, _Mapping]] = ..., window: _Optional[_Union[Window, _Mapping]] = ...) -> None: ...

class Dictionary(_message.Message):
    __slots__ = ("reset", "strings", "function_name", "function_file", "function_kind", "frame_parent", "frame_function", "frame_line", "categories", "stack_frame", "stack_category", "containers")
    RESET_FIELD_NUMBER: _ClassVar[int]
    STRINGS_FIELD_NUMBER: _ClassVar[int]
    FUNCTION_NAME_FIELD_NUMBER: _ClassVar[int]
    FUNCTION_FILE_FIELD_NUMBER: _ClassVar[int]
    FUNCTION_KIND_FIELD_NUMBER: _ClassVar[int]
    FRAME_PARENT_FIELD_NUMBER: _ClassVar[int]
    FRAME_FUNCTION_FIELD_NUMBER: _ClassVar[int]
    FRAME_LINE_FIELD_NUMBER: _ClassVar[int]
    CATEGORIES_FIELD_NUMBER: _ClassVar[int]
    STACK_FRAME_FIELD_NUMBER: _ClassVar[int]
    STACK_CATEGORY_FIELD_NUMBER: _ClassVar[int]
    CONTAINERS_FIELD_NUMBER: _ClassVar[int]
    reset: bool
    strings: _containers.RepeatedScalarFieldContainer[str]
    function_name: _containers.RepeatedScalarFieldContainer[int]
    function_file: _containers.RepeatedScalarFieldContainer[int]
    function_kind: _containers.RepeatedScalarFieldContainer[FrameKind]
    frame_parent: _containers.RepeatedScalarFieldContainer[int]
    frame_function: _containers.RepeatedScalarFieldContainer[int]
    frame_line: _containers.RepeatedScalarFieldContainer[int]
    categories: _containers.RepeatedCompositeFieldContainer[Category]
    stack_frame: _containers.RepeatedScalarFieldContainer[int]
    stack_category: _containers.RepeatedScalarFieldContainer[int]
    containers: _containers.RepeatedCompositeFieldContainer[Container]
    def __init__(self, reset: bool = ..., strings: _Optional[_Iterable[str]] = ..., function_name: _Optional[_Iterable[int]] = ..., function_file: _Optional[_Iterable[int]] = ..., function_kind: _Optional[_Iterable[_Union[FrameKind, str]]] = ..., frame_parent: _Optional[_Iterable[int]] = ..., frame_function: _Optional[_Iterable[int]] = ..., frame_line: _Optional[_Iterable[int]] = ..., categories: _Optional[_Iterable[_Union[Category, _Mapping]]] = ..., stack_frame: _Optional[_Iterable[int]] = ..., stack_category: _Optional[_Iterable[int]] = ..., containers: _Optional[_Iterable[_Union[Container, _Mapping]]] = ...) -> None: ...

class Category(_message.Message):
    __slots__ = ("label", "group")
    LABEL_FIELD_NUMBER: _ClassVar[int]
    GROUP_FIELD_NUMBER: _ClassVar[int]
    label: str
    group: str
    def __init__(self, label: _Optional[str] = ..., group: _Optional[str] = ...) -> None: ...

class Container(_message.Message):
    __slots__ = ("name", "cgroup", "namespace", "pod", "container", "pod_uid", "workload_kind", "workload_name", "container_id", "image", "unit", "go_version", "main_module", "main_version", "main_package", "command", "key")
    NAME_FIELD_NUMBER: _ClassVar[int]
    CGROUP_FIELD_NUMBER: _ClassVar[int]
    NAMESPACE_FIELD_NUMBER: _ClassVar[int]
    POD_FIELD_NUMBER: _ClassVar[int]
    CONTAINER_FIELD_NUMBER: _ClassVar[int]
    POD_UID_FIELD_NUMBER: _ClassVar[int]
    WORKLOAD_KIND_FIELD_NUMBER: _ClassVar[int]
    WORKLOAD_NAME_FIELD_NUMBER: _ClassVar[int]
    CONTAINER_ID_FIELD_NUMBER: _ClassVar[int]
    IMAGE_FIELD_NUMBER: _ClassVar[int]
    UNIT_FIELD_NUMBER: _ClassVar[int]
    GO_VERSION_FIELD_NUMBER: _ClassVar[int]
    MAIN_MODULE_FIELD_NUMBER: _ClassVar[int]
    MAIN_VERSION_FIELD_NUMBER: _ClassVar[int]
    MAIN_PACKAGE_FIELD_NUMBER: _ClassVar[int]
    COMMAND_FIELD_NUMBER: _ClassVar[int]
    KEY_FIELD_NUMBER: _ClassVar[int]
    name: int
    cgroup: int
    namespace: int
    pod: int
    container: int
    pod_uid: int
    workload_kind: int
    workload_name: int
    container_id: int
    image: int
    unit: int
    go_version: int
    main_module: int
    main_version: int
    main_package: int
    command: int
    key: int
    def __init__(self, name: _Optional[int] = ..., cgroup: _Optional[int] = ..., namespace: _Optional[int] = ..., pod: _Optional[int] = ..., container: _Optional[int] = ..., pod_uid: _Optional[int] = ..., workload_kind: _Optional[int] = ..., workload_name: _Optional[int] = ..., container_id: _Optional[int] = ..., image: _Optional[int] = ..., unit: _Optional[int] = ..., go_version: _Optional[int] = ..., main_module: _Optional[int] = ..., main_version: _Optional[int] = ..., main_package: _Optional[int] = ..., command: _Optional[int] = ..., key: _Optional[int] = ...) -> None: ...

class Window(_message.Message):
    __slots__ = ("start_unix_ns", "duration_ns", "period_ns", "cpu_count", "samples_drained", "samples_attributed", "lost", "samples_other", "containers", "dropped", "others")
    START_UNIX_NS_FIELD_NUMBER: _ClassVar[int]
    DURATION_NS_FIELD_NUMBER: _ClassVar[int]
    PERIOD_NS_FIELD_NUMBER: _ClassVar[int]
    CPU_COUNT_FIELD_NUMBER: _ClassVar[int]
    SAMPLES_DRAINED_FIELD_NUMBER: _ClassVar[int]
    SAMPLES_ATTRIBUTED_FIELD_NUMBER: _ClassVar[int]
    LOST_FIELD_NUMBER: _ClassVar[int]
    SAMPLES_OTHER_FIELD_NUMBER: _ClassVar[int]
    CONTAINERS_FIELD_NUMBER: _ClassVar[int]
    DROPPED_FIELD_NUMBER: _ClassVar[int]
    OTHERS_FIELD_NUMBER: _ClassVar[int]
    start_unix_ns: int
    duration_ns: int
    period_ns: int
    cpu_count: int
    samples_drained: int
    samples_attributed: int
    lost: _containers.RepeatedCompositeFieldContainer[Loss]
    samples_other: int
    containers: _containers.RepeatedCompositeFieldContainer[Observation]
    dropped: _containers.RepeatedCompositeFieldContainer[Loss]
    others: _containers.RepeatedCompositeFieldContainer[Observation]
    def __init__(self, start_unix_ns: _Optional[int] = ..., duration_ns: _Optional[int] = ..., period_ns: _Optional[int] = ..., cpu_count: _Optional[int] = ..., samples_drained: _Optional[int] = ..., samples_attributed: _Optional[int] = ..., lost: _Optional[_Iterable[_Union[Loss, _Mapping]]] = ..., samples_other: _Optional[int] = ..., containers: _Optional[_Iterable[_Union[Observation, _Mapping]]] = ..., dropped: _Optional[_Iterable[_Union[Loss, _Mapping]]] = ..., others: _Optional[_Iterable[_Union[Observation, _Mapping]]] = ...) -> None: ...

class Loss(_message.Message):
    __slots__ = ("reason", "count")
    REASON_FIELD_NUMBER: _ClassVar[int]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    reason: int
    count: int
    def __init__(self, reason: _Optional[int] = ..., count: _Optional[int] = ...) -> None: ...

class Observation(_message.Message):
    __slots__ = ("container", "cpu_ns", "category", "category_samples", "process_count", "gomaxprocs", "cpu", "verdict", "findings", "stack", "stack_samples", "samples_without_stack")
    CONTAINER_FIELD_NUMBER: _ClassVar[int]
    CPU_NS_FIELD_NUMBER: _ClassVar[int]
    CATEGORY_FIELD_NUMBER: _ClassVar[int]
    CATEGORY_SAMPLES_FIELD_NUMBER: _ClassVar[int]
    PROCESS_COUNT_FIELD_NUMBER: _ClassVar[int]
    GOMAXPROCS_FIELD_NUMBER: _ClassVar[int]
    CPU_FIELD_NUMBER: _ClassVar[int]
    VERDICT_FIELD_NUMBER: _ClassVar[int]
    FINDINGS_FIELD_NUMBER: _ClassVar[int]
    STACK_FIELD_NUMBER: _ClassVar[int]
    STACK_SAMPLES_FIELD_NUMBER: _ClassVar[int]
    SAMPLES_WITHOUT_STACK_FIELD_NUMBER: _ClassVar[int]
    container: int
    cpu_ns: int
    category: _containers.RepeatedScalarFieldContainer[int]
    category_samples: _containers.RepeatedScalarFieldContainer[int]
    process_count: int
    gomaxprocs: Gomaxprocs
    cpu: Cpu
    verdict: Verdict
    findings: _containers.RepeatedCompositeFieldContainer[Finding]
    stack: _containers.RepeatedScalarFieldContainer[int]
    stack_samples: _containers.RepeatedScalarFieldContainer[int]
    samples_without_stack: int
    def __init__(self, container: _Optional[int] = ..., cpu_ns: _Optional[int] = ..., category: _Optional[_Iterable[int]] = ..., category_samples: _Optional[_Iterable[int]] = ..., process_count: _Optional[int] = ..., gomaxprocs: _Optional[_Union[Gomaxprocs, _Mapping]] = ..., cpu: _Optional[_Union[Cpu, _Mapping]] = ..., verdict: _Optional[_Union[Verdict, str]] = ..., findings: _Optional[_Iterable[_Union[Finding, _Mapping]]] = ..., stack: _Optional[_Iterable[int]] = ..., stack_samples: _Optional[_Iterable[int]] = ..., samples_without_stack: _Optional[int] = ...) -> None: ...

class Gomaxprocs(_message.Message):
    __slots__ = ("value", "origin", "expected", "recommended", "reason")
    VALUE_FIELD_NUMBER: _ClassVar[int]
    ORIGIN_FIELD_NUMBER: _ClassVar[int]
    EXPECTED_FIELD_NUMBER: _ClassVar[int]
    RECOMMENDED_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    value: int
    origin: Origin
    expected: int
    recommended: int
    reason: int
    def __init__(self, value: _Optional[int] = ..., origin: _Optional[_Union[Origin, str]] = ..., expected: _Optional[int] = ..., recommended: _Optional[int] = ..., reason: _Optional[int] = ...) -> None: ...

class Cpu(_message.Message):
    __slots__ = ("limit_ucores", "request_ucores", "usage_ns", "periods", "throttled_periods", "throttled_ns")
    LIMIT_UCORES_FIELD_NUMBER: _ClassVar[int]
    REQUEST_UCORES_FIELD_NUMBER: _ClassVar[int]
    USAGE_NS_FIELD_NUMBER: _ClassVar[int]
    PERIODS_FIELD_NUMBER: _ClassVar[int]
    THROTTLED_PERIODS_FIELD_NUMBER: _ClassVar[int]
    THROTTLED_NS_FIELD_NUMBER: _ClassVar[int]
    limit_ucores: int
    request_ucores: int
    usage_ns: int
    periods: int
    throttled_periods: int
    throttled_ns: int
    def __init__(self, limit_ucores: _Optional[int] = ..., request_ucores: _Optional[int] = ..., usage_ns: _Optional[int] = ..., periods: _Optional[int] = ..., throttled_periods: _Optional[int] = ..., throttled_ns: _Optional[int] = ...) -> None: ...

class Finding(_message.Message):
    __slots__ = ("code", "severity", "confidence", "cause", "title", "remedy", "remedy_gomaxprocs", "saving", "held_ns", "evidence", "patches")
    CODE_FIELD_NUMBER: _ClassVar[int]
    SEVERITY_FIELD_NUMBER: _ClassVar[int]
    CONFIDENCE_FIELD_NUMBER: _ClassVar[int]
    CAUSE_FIELD_NUMBER: _ClassVar[int]
    TITLE_FIELD_NUMBER: _ClassVar[int]
    REMEDY_FIELD_NUMBER: _ClassVar[int]
    REMEDY_GOMAXPROCS_FIELD_NUMBER: _ClassVar[int]
    SAVING_FIELD_NUMBER: _ClassVar[int]
    HELD_NS_FIELD_NUMBER: _ClassVar[int]
    EVIDENCE_FIELD_NUMBER: _ClassVar[int]
    PATCHES_FIELD_NUMBER: _ClassVar[int]
    code: int
    severity: Severity
    confidence: Confidence
    cause: int
    title: int
    remedy: int
    remedy_gomaxprocs: int
    saving: Saving
    held_ns: int
    evidence: _containers.RepeatedScalarFieldContainer[str]
    patches: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, code: _Optional[int] = ..., severity: _Optional[_Union[Severity, str]] = ..., confidence: _Optional[_Union[Confidence, str]] = ..., cause: _Optional[int] = ..., title: _Optional[int] = ..., remedy: _Optional[int] = ..., remedy_gomaxprocs: _Optional[int] = ..., saving: _Optional[_Union[Saving, _Mapping]] = ..., held_ns: _Optional[int] = ..., evidence: _Optional[_Iterable[str]] = ..., patches: _Optional[_Iterable[str]] = ...) -> None: ...

class Saving(_message.Message):
    __slots__ = ("low_ucores", "mid_ucores", "high_ucores")
    LOW_UCORES_FIELD_NUMBER: _ClassVar[int]
    MID_UCORES_FIELD_NUMBER: _ClassVar[int]
    HIGH_UCORES_FIELD_NUMBER: _ClassVar[int]
    low_ucores: int
    mid_ucores: int
    high_ucores: int
    def __init__(self, low_ucores: _Optional[int] = ..., mid_ucores: _Optional[int] = ..., high_ucores: _Optional[int] = ...) -> None: ...
