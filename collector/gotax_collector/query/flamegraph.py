"""A profile as a tree of calls, for a flame graph, and as folded stacks. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from gotax.page.calltree import Call, CallTree

from gotax_collector.query.answers import Profile, StackTime

NANOSECOND = 1e-9


def tree(*profiles: Profile) -> CallTree:
    """Of one profile, or of two: before and after. Times are nanoseconds."""
    categories: dict[tuple[str, str], int] = {}
    stacks = [
        (stack, categories.setdefault((stack.category, stack.group), len(categories)), side)
        for side, profile in enumerate(profiles)
        for stack in _with_rest(profile)
    ]
    found = CallTree(tuple(categories), len(profiles))
    calls = _Calls()
    for stack, category, side in sorted(stacks, key=lambda each: -each[0].cpu_ns):
        names = stack.functions or (f"[{stack.category}]",)
        found.add(map(calls.__getitem__, names), category, stack.cpu_ns, side)
    return found


class _Calls(dict[str, Call]):
    """One for each name: a profile has some hundred thousand calls of some thousand functions."""

    def __missing__(self, name: str) -> Call:
        made = self[name] = Call(name or "?")
        return made


def folded(profile: Profile) -> Iterator[str]:
    """Lines of ``root;...;leaf MICROSECONDS``, as flamegraph.pl, speedscope and inferno read them.

    ; within a name becomes :, for it ends a name there.
    """
    for stack in _with_rest(profile):
        if time := stack.cpu_ns // 1000:
            yield f"{_line(stack)} {time}"


def folded_of_two(first: Profile, second: Profile) -> Iterator[str]:
    """Lines of ``root;...;leaf MICROSECONDS MICROSECONDS``, as difffolded.pl writes them and
    flamegraph.pl reads them: a difference."""
    times: dict[str, list[int]] = {}
    for side, profile in enumerate((first, second)):
        for stack in _with_rest(profile):
            times.setdefault(_line(stack), [0, 0])[side] += stack.cpu_ns // 1000
    for line, (before, after) in times.items():
        if before or after:
            yield f"{line} {before} {after}"


def _line(stack: StackTime) -> str:
    names = [*(name.replace(";", ":") for name in stack.functions), f"[{stack.category}]"]
    return ";".join(" ".join(name.split()) for name in names)


def _with_rest(profile: Profile) -> Iterator[StackTime]:
    yield from profile.stacks
    if profile.rest_ns:
        yield StackTime(
            (f"({profile.stack_count - len(profile.stacks)} rare stacks)",),
            "unknown",
            profile.rest_ns,
        )
