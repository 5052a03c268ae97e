"""The codes of what ``gotax lint`` finds; docs/inspect.md explains them."""

ABOVE_LIMIT = "GL001"
NO_CPU_LIMIT = "GL002"
DIVISOR = "GL003"
NO_CONTAINER = "GL004"
NOT_A_NUMBER = "GL005"
BELOW_LIMIT = "GL006"
FRACTIONAL = "GL007"
MALFORMED_MEMORY = "GL008"
NO_MEMORY_LIMIT = "GL009"
NEAR_MEMORY = "GL010"
MALFORMED_GOGC = "GL012"
WRONG_RESOURCE = "GL013"
REPEATED = "GL014"
WITHOUT_EFFECT = "GL015"
NO_QUANTITY = "GL016"
SLIGHTLY_ABOVE = "GL017"
ABOVE_MEMORY, GC_OFF = "GT018", "GT019"
"""Also found in running programs: one cause has one code."""

LINT_SUMMARIES = {
    ABOVE_LIMIT: "GOMAXPROCS is above the CPU limit",
    NO_CPU_LIMIT: "GOMAXPROCS comes from limits.cpu, and there is no CPU limit",
    DIVISOR: "a variable from the downward API has a divisor that Go does not expect",
    NO_CONTAINER: "a variable comes from a container that the pod does not have",
    NOT_A_NUMBER: "GOMAXPROCS is not a whole number above 0",
    BELOW_LIMIT: "GOMAXPROCS is below the CPU limit",
    FRACTIONAL: "the CPU limit is not a whole number",
    MALFORMED_MEMORY: "GOMEMLIMIT is malformed: the program does not start",
    NO_MEMORY_LIMIT: "GOMEMLIMIT comes from limits.memory, and there is no memory limit",
    NEAR_MEMORY: "GOMEMLIMIT is too near to the memory limit",
    MALFORMED_GOGC: "GOGC is not a whole number",
    WRONG_RESOURCE: "a variable comes from the wrong resource",
    REPEATED: "a variable of Go is set twice",
    WITHOUT_EFFECT: "the Go version does not read the variable",
    NO_QUANTITY: "a limit or request is not a quantity",
    SLIGHTLY_ABOVE: "GOMAXPROCS is slightly above the CPU limit",
}
INFO_CODES = frozenset({BELOW_LIMIT, FRACTIONAL, SLIGHTLY_ABOVE})
"""The others are warnings."""

STATIC_SUMMARIES = {
    "GT001": "GOMAXPROCS will be above what fits the container",
    "GT003": "there is no CPU limit, and GOMAXPROCS will be the CPUs of a large node",
    "GT004": "GOMAXPROCS will be below the CPU limit",
    "GT005": "GOMAXPROCS will be 2 at a limit of 1 CPU or less",
    "GT006": "the CPU limit is not a whole number",
    "GT015": "GOMAXPROCS cannot be predicted",
    ABOVE_MEMORY: "GOMEMLIMIT is above the memory limit",
    GC_OFF: "GOGC is off and there is no GOMEMLIMIT",
}
"""Of the findings of ``gotax check`` that need no profile."""

SUMMARIES = STATIC_SUMMARIES | LINT_SUMMARIES
