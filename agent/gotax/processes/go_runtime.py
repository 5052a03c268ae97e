"""What Go says of itself in one process: GOMAXPROCS, where it came from, the state of the GC."""

from __future__ import annotations

from dataclasses import dataclass, replace

from gotax.errors import ParseError, ReadError, Refusal
from gotax.golang.cgroupview import CgroupView
from gotax.golang.live import LiveGomaxprocs
from gotax.golang.origin import judge
from gotax.golang.startup import Facts
from gotax.process import CpuLimit, GoBuild, Gomaxprocs, Origin, Process, RuntimeState
from gotax.processes.address_space import AddressSpace
from gotax.processes.binaries import Binary
from gotax.processes.counts import ErrorCounts
from gotax.processes.files import ProcessFiles
from gotax.processes.program import Program
from gotax.reader.asking import NOT_NOW

_VARIABLES = frozenset({"GOMAXPROCS", "GODEBUG"})
_NO_VIEW = CgroupView()
_Asked = tuple[LiveGomaxprocs | Refusal, Facts, float | None, Gomaxprocs | None]


@dataclass(frozen=True, slots=True)
class GoFacts:
    """What was read of the one runtime that stands for the process."""

    build: GoBuild
    gomaxprocs: Gomaxprocs
    state: RuntimeState | None


class GoRuntime:
    """What it was started with is read once, the rest with each ``read``.

    ``environment`` is None where it cannot be read.
    """

    __slots__ = (
        *("_cgroup_view", "_errors", "_files", "_follows_limit", "_judged", "_program", "_space"),
        "environment",
    )

    def __init__(
        self, files: ProcessFiles, space: AddressSpace, program: Program, errors: ErrorCounts
    ) -> None:
        self._files = files
        self._space = space
        self._program = program
        self._errors = errors
        self._follows_limit: bool | None = None
        self._cgroup_view = _NO_VIEW
        self._judged: tuple[_Asked, Gomaxprocs] | None = None  # by what GOMAXPROCS was, and how
        self.environment: dict[str, str] | None = None

    def drop(self) -> None:
        self.environment, self._judged = {}, None

    def read_start(self) -> None:
        """What it was started with. Raises ProcessGoneError."""
        self.environment = None
        try:
            self.environment = self._files.environment(_VARIABLES)
            self._follows_limit = bool(self._files.cgroup_fds())
            self._cgroup_view = self._files.cgroup_view()
        except ReadError as error:
            self._errors.note(error)

    def read(self, limit: CpuLimit, online: frozenset[int], known: Process) -> GoFacts:
        """``known``: the process as it was last. Raises ReadError, ProcessGoneError."""
        binary, live = self._read_live()
        assert binary.build is not None
        facts = replace(
            self._facts(binary, limit, online), container_runtime=known.container.runtime
        )
        before = known.gomaxprocs
        found = self._judge((live, facts, limit.limit_cores, before))
        state = self._state(binary) if found.value is not None else None
        return GoFacts(binary.build, found, state)

    def _facts(self, binary: Binary, limit: CpuLimit, online: frozenset[int]) -> Facts:
        assert binary.build is not None
        environment = self.environment or {}
        return Facts(
            build=binary.build,
            allowed_cpus=self._files.allowed_cpus(online),
            environment=environment.get("GOMAXPROCS"),
            godebug=environment.get("GODEBUG"),
            environment_read=self.environment is not None,
            leaf_limit_cores=limit.leaf_limit_cores,
            cgroup=self._cgroup_view,
            follows_limit=self._follows_limit,
            online_cpus=len(online),
            cpuset_cpus=limit.cpuset_cpus,
            shares=limit.shares,
            weight=limit.weight,
            code=None if isinstance(binary.gomaxprocs, Refusal) else binary.gomaxprocs,
        )

    def _judge(self, asked: _Asked) -> Gomaxprocs:
        if self._judged is None or self._judged[0] != asked:  # hardly ever anything is new
            self._judged = asked, judge(*asked)
        found = self._judged[1]
        live = asked[0]
        if self.environment is None and not (isinstance(live, Refusal) or live.custom is False):
            found = replace(found, origin=Origin.UNKNOWN)  # it may be the variable's, or not
        return found

    def _state(self, binary: Binary) -> RuntimeState | None:
        bias = dict(self._program.located_runtimes()).get(binary)
        if bias is None:
            return None
        try:
            return self._files.runtime_state(binary.state, bias)
        except ReadError as error:
            self._errors.note(error)
            return None

    def _read_live(self) -> tuple[Binary, LiveGomaxprocs | Refusal]:
        """The executable's own value; of several libraries that of the one with the highest.

        A library without a value is no runtime (a plugin uses its host's), or not yet one.
        """
        values: list[tuple[Binary, LiveGomaxprocs]] = []
        failed: list[tuple[Binary, Refusal]] = []
        for binary, bias in self._program.runtimes:
            try:
                values.append((binary, self._read_value(binary, bias)))
            except ReadError as error:
                failed.append((binary, error.refusal))
        if values:
            return max(values, key=lambda found: found[1].value)
        late = next((refusal for _, refusal in failed if refusal.reason in NOT_NOW), None)
        if late is not None:
            raise late.error  # what was known stays
        return failed[0]

    def _read_value(self, binary: Binary, bias: int | None) -> LiveGomaxprocs:
        if isinstance(binary.gomaxprocs, Refusal):
            raise binary.gomaxprocs.error
        bias = self._program.bias(binary, bias)
        if bias is None:
            raise ParseError(self._space.refused or "gomaxprocs-unmapped", binary.module)
        return self._files.gomaxprocs(binary.gomaxprocs, bias)
