"""Texts about what limits the CPUs of a container, and so gives the GOMAXPROCS that fits."""

from __future__ import annotations

from gotax.diagnosis.case import Case
from gotax.process import Binding, CpuLimit

_SHORT = {
    Binding.QUOTA: "CPU limit",
    Binding.CPUSET: "CPUs of its cpuset",
    Binding.AFFINITY: "CPUs that its affinity allows",
    Binding.HOST: "number of CPUs",
}


def short_bound(case: Case) -> str:
    """The first bound, for a title: "CPU limit"."""
    return _SHORT[case.bound_by[0]]


def long_bound(case: Case) -> str:
    """All bounds that give the number, and a limit that allows more: "a limit of 1 CPU (cgroup /x)
    fits 1"."""
    limit, fits = case.report.limit, case.fits or 1
    parts = [_part(each, limit, fits) for each in case.bound_by]
    text = " and ".join(parts) + f" {'fits' if len(parts) == 1 else 'both fit'} {fits}"
    if limit.limit_cores is None:
        return f"there is no CPU limit, and {text}"
    if Binding.QUOTA not in case.bound_by:
        return (
            f"{text}; its limit of {_cpus(limit.limit_cores)}{_at(limit.limit_cgroup)} allows more"
        )
    return text


def _part(binding: Binding, limit: CpuLimit, fits: int) -> str:
    if binding is Binding.QUOTA and limit.limit_cores is not None:
        # "1 CPU", "1.5 CPU": a limit is an amount of CPU time, not a number of CPUs.
        return f"a limit of {limit.limit_cores:g} CPU{_at(limit.limit_cgroup)}"
    if binding is Binding.CPUSET:
        return f"a cpuset of {_cpus(fits)}{_at(limit.cpuset_cgroup)}"
    if binding is Binding.AFFINITY:
        what = "taskset" if limit.cpuset_cpus is not None else "taskset, or a cpuset"
        return f"a CPU affinity ({what}) of {_cpus(fits)}"
    return f"a host of {_cpus(fits)}"


def _at(cgroup: str | None) -> str:
    return f" (cgroup {cgroup})" if cgroup else ""


def _cpus(number: float) -> str:
    return f"{number:g} CPU{'' if number == 1 else 's'}"
