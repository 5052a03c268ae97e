"""The time of each function of a profile, and of two profiles beside each other. Pure."""

from __future__ import annotations

from collections import defaultdict

from gotax_collector.query.answers import (
    Differences,
    FunctionDifference,
    Functions,
    FunctionTime,
    Profile,
)


def functions_of(profile: Profile, limit: int) -> Functions:
    """Those with most time of their own first."""
    times = _function_times(profile)
    rows = sorted(times.items(), key=lambda item: (-item[1][0], -item[1][1], item[0]))
    return Functions(
        profile.span,
        tuple(FunctionTime(name, flat, whole) for name, (flat, whole) in rows[:limit]),
        profile.cpu_ns,
    )


def differences_of(first: Profile, second: Profile, limit: int) -> Differences:
    """Those whose own share changed most first."""
    profiles = first, second
    totals = [max(1, profile.cpu_ns) for profile in profiles]
    times = [_function_times(profile) for profile in profiles]
    rows = []
    for name in times[0].keys() | times[1].keys():
        sides = [
            tuple(ns / total for ns in side.get(name, (0, 0)))
            for side, total in zip(times, totals, strict=True)
        ]
        flat, whole = (sides[0][0], sides[1][0]), (sides[0][1], sides[1][1])
        rows.append(FunctionDifference(name, flat, whole))
    rows.sort(key=lambda row: (-abs(row.flat[1] - row.flat[0]), row.function))
    return Differences(
        (first.span, second.span), tuple(rows[:limit]), (first.cpu_ns, second.cpu_ns)
    )


def _function_times(profile: Profile) -> dict[str, tuple[int, int]]:
    """(flat, cumulative) nanoseconds. A function counts once per stack, even if it recurses."""
    flat: defaultdict[str, int] = defaultdict(int)
    whole: defaultdict[str, int] = defaultdict(int)
    for stack in profile.stacks:
        functions = stack.functions or (f"[{stack.category}]",)
        flat[functions[-1]] += stack.cpu_ns
        for name in set(functions):
            whole[name] += stack.cpu_ns
    return {name: (flat.get(name, 0), ns) for name, ns in whole.items()}
