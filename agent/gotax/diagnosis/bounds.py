"""Texts about what limits the CPUs of a container, and so gives the GOMAXPROCS that fits."""

from __future__ import annotations

from gotax.diagnosis.context import Context
from gotax.process import Binding, CpuLimit

_SHORT = {
    Binding.QUOTA: "CPU limit",
    Binding.CPUSET: "CPUs of its cpuset",
    Binding.AFFINITY: "CPUs that its affinity allows",
    Binding.HOST: "number of CPUs",
}


def short_bound(context: Context) -> str:
    """The first bound, for a title: "CPU limit"."""
    return _SHORT[context.bound_by[0]]


def long_bound(context: Context) -> str:
    """All bounds that give the number, and a limit that allows more: "a limit of 1 CPU (cgroup /x)
    fits 1"."""
    limit, recommended = context.report.limit, context.recommended or 1
    parts = [_part(each, limit, recommended) for each in context.bound_by]
    text = " and ".join(parts) + f" {'fits' if len(parts) == 1 else 'both fit'} {recommended}"
    if limit.limit_cores is None:
        return f"there is no CPU limit, and {text}"
    if Binding.QUOTA not in context.bound_by:
        return (
            f"{text}; its limit of {_cpus(limit.limit_cores)}{_at(limit.limit_cgroup)} allows more"
        )
    return text


def _part(binding: Binding, limit: CpuLimit, recommended: int) -> str:
    if binding is Binding.QUOTA and limit.limit_cores is not None:
        # "1 CPU", "1.5 CPU": a limit is an amount of CPU time, not a number of CPUs.
        return f"a limit of {limit.limit_cores:g} CPU{_at(limit.limit_cgroup)}"
    if binding is Binding.CPUSET:
        return f"a cpuset of {_cpus(recommended)}{_at(limit.cpuset_cgroup)}"
    if binding is Binding.AFFINITY:
        what = "taskset" if limit.cpuset_cpus is not None else "taskset, or a cpuset"
        return f"a CPU affinity ({what}) of {_cpus(recommended)}"
    return f"a host of {_cpus(recommended)}"


def _at(cgroup: str | None) -> str:
    return f" (cgroup {cgroup})" if cgroup else ""


def _cpus(number: float) -> str:
    return f"{number:g} CPU{'' if number == 1 else 's'}"
