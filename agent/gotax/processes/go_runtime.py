"""What Go says of itself in one process: GOMAXPROCS, where it came from, the state of the GC."""

from __future__ import annotations

from dataclasses import dataclass, replace

from gotax.errors import ParseError, ReadError, Refusal
from gotax.golang.cgroupview import CgroupView
from gotax.golang.live import LiveGomaxprocs, RuntimeValues
from gotax.golang.origin import judge
from gotax.golang.startup import Facts
from gotax.process import CpuLimit, GoBuild, Gomaxprocs, Origin, Process, RuntimeState
from gotax.processes.address_space import AddressSpace
from gotax.processes.binaries import Binary
from gotax.processes.counts import ErrorCounts
from gotax.processes.files import ProcessFiles
from gotax.processes.program import Program, Runtimes
from gotax.reader.asking import NOT_NOW

_VARIABLES = frozenset({"GOMAXPROCS", "GODEBUG"})
_NO_VIEW = CgroupView()
_Values = tuple[Binary, RuntimeValues | Refusal]
_Circumstances = tuple[CpuLimit, frozenset[int], Runtimes]
_Asked = tuple[LiveGomaxprocs | Refusal, Facts, float | None, Gomaxprocs | None]


@dataclass(frozen=True, slots=True)
class GoFacts:
    """What was read of the one runtime that stands for the process. ``is_moving``: its limit or its
    program is another one than before, and Go 1.25 follows a new limit up to half a minute later.
    """

    build: GoBuild
    gomaxprocs: Gomaxprocs
    state: RuntimeState | None
    is_moving: bool = False


class GoRuntime:
    """What it was started with is read once, the rest with each ``read``.

    ``environment`` is None where it cannot be read.
    """

    __slots__ = (
        *("_cgroup_view", "_circumstances", "_errors", "_files", "_follows_limit", "_judged"),
        *("_program", "_space"),
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
        self._circumstances: _Circumstances | None = None
        self.environment: dict[str, str] | None = None

    def drop(self) -> None:
        self.environment, self._judged, self._circumstances = {}, None, None

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
        before, now = self._circumstances, (limit, online, self._program.runtimes)
        self._circumstances = now
        binary, values = self._read_values()
        assert binary.build is not None
        facts = self._facts(binary, limit, online, known)
        live = values if isinstance(values, Refusal) else values.gomaxprocs
        found = self._judge((live, facts, limit.limit_cores, known.gomaxprocs))
        state = None if isinstance(values, Refusal) or found.value is None else values.state
        return GoFacts(binary.build, found, state, before is not None and before != now)

    def _facts(
        self, binary: Binary, limit: CpuLimit, online: frozenset[int], known: Process
    ) -> Facts:
        assert binary.build is not None
        environment = self.environment or {}
        return Facts(
            build=binary.build,
            allowed_cpus=self._files.allowed_cpus(online),
            environment=environment.get("GOMAXPROCS"),
            godebug=environment.get("GODEBUG"),
            environment_read=self.environment is not None,
            leaf_limit_cores=limit.leaf_limit_cores,
            limit_read=not limit.problem,
            cgroup=self._cgroup_view,
            follows_limit=self._follows_limit,
            online_cpus=len(online),
            cpuset_cpus=limit.cpuset_cpus,
            shares=limit.shares,
            weight=limit.weight,
            container_runtime=known.container.runtime,
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

    def _read_values(self) -> _Values:
        """The executable's own values; of several libraries those of the one with the highest.

        A library without a value is no runtime (a plugin uses its host's), or not yet one.
        """
        found: list[tuple[Binary, RuntimeValues]] = []
        failed: list[tuple[Binary, Refusal]] = []
        for binary, bias in self._program.runtimes:
            try:
                found.append((binary, self._ask(binary, bias)))
            except ReadError as error:
                failed.append((binary, error.refusal))
        if found:
            binary, values = max(found, key=lambda each: each[1].gomaxprocs.value)
            if values.problem:
                self._errors[values.problem] += 1
            return binary, values
        late = next((refusal for _, refusal in failed if refusal.reason in NOT_NOW), None)
        if late is not None:
            raise late.error  # what was known stays
        return failed[0]

    def _ask(self, binary: Binary, bias: int | None) -> RuntimeValues:
        if isinstance(binary.gomaxprocs, Refusal):
            raise binary.gomaxprocs.error
        bias = self._program.bias(binary, bias)
        if bias is None:
            raise ParseError(self._space.refused or "gomaxprocs-unmapped", binary.module)
        return self._files.runtime_values(binary.gomaxprocs, binary.state, bias)
