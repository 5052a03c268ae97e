"""``gotax explain``: all evidence for one container."""

from __future__ import annotations

from collections.abc import Sequence

from gotax.category import Category, Group
from gotax.confidence import interval
from gotax.exporters.style import (
    BOLD,
    DIM,
    GROUP_PAINTS,
    MAX_TEXT,
    MIN_WIDTH,
    ORIGINS,
    Style,
    cores,
    dash,
    labelled,
    padded,
    painted,
    paragraph,
    percent,
    plural,
    seconds,
    shortened,
    unabridged,
    verdict_word,
    word,
)
from gotax.exporters.terminal.finding import LABEL_WIDTH, finding_lines
from gotax.exporters.terminal.waiting import waiting_text
from gotax.exporters.text import columns
from gotax.process import (
    Binding,
    Container,
    CpuLimit,
    CpuResources,
    Gomaxprocs,
    PodContainer,
    Process,
)
from gotax.window import ContainerReport, Window

EXPLAINED_FUNCTIONS = 12


def render_explain(report: ContainerReport, window: Window, style: Style) -> str:
    """All evidence for one container."""
    verdict = verdict_word(report.verdict, report.findings)
    label = verdict.label(style)
    name = shortened(report.container.name, style.room - columns(label) - 2, style)
    gap = " " * max(2, min(style.room, MAX_TEXT) - columns(name) - columns(label))
    lines = [painted(name, BOLD, style) + gap + painted(label, verdict.paint, style)]
    lines += paragraph(verdict.sentence, style.room, style)
    lines += ["", *_facts(report, window, style)]
    lines += ["", *_category_bars(report, window, style)]
    lines += ["", *_function_rows(report, style)]
    for finding in report.findings:
        lines += ["", *finding_lines(finding, report, style, whole=True)]
    return "\n".join(lines)


def _facts(report: ContainerReport, window: Window, style: Style) -> list[str]:
    room = style.room - LABEL_WIDTH
    facts = [
        ("Program", _program(report.main_process)),
        ("Processes", _processes(report.processes)),
        ("Pod", _pod(report.container.pod)),
        ("Container", _identity(report.container)),
        ("Cgroup", report.container.cgroup),
        ("CPU", _cpu(report, window)),
        ("Limit", _limit(report.limit, report.container)),
        ("Throttled", _throttled(report)),
        ("Waiting", waiting_text(report, window)),
    ]
    lines: list[str] = []
    for label, text in facts:
        if text:
            lines += labelled(label, unabridged(text, room, style), LABEL_WIDTH, style)
    steps = _gomaxprocs_steps(report.main_process.gomaxprocs)
    for i, step in enumerate(steps):
        label = "" if i else "GOMAXPROCS"
        lines += labelled(label, paragraph(step, room, style), LABEL_WIDTH, style)
    return lines


def _program(process: Process) -> str:
    build = process.build
    if build is None:
        return process.command
    module = " ".join(part for part in (build.main.path, build.main.version) if part)
    return f"{module or process.command}, built with {build.version or 'an unknown Go version'}"


def _processes(processes: Sequence[Process]) -> str:
    shown = ", ".join(f"{process.pid} ({process.command})" for process in processes[:4])
    rest = len(processes) - 4
    return f"{shown} and {rest} more" if rest > 0 else shown


def _identity(container: Container) -> str:
    parts = (
        f"systemd unit {container.unit}" if container.unit else "",
        f"{container.runtime or 'container'} {container.container_id[:12]}"
        if container.container_id
        else "",
        f"pod {container.pod_uid}" if container.pod_uid else "",
        f"the part {container.nested}, which has a limit of its own" if container.nested else "",
    )
    return ", ".join(part for part in parts if part)


def _pod(pod: PodContainer | None) -> str:
    if pod is None:
        return ""
    text = f"{pod.namespace}/{pod.pod} of {pod.workload} on {pod.node}"
    if pod.kind != "container":
        article = "an" if pod.kind.startswith(("e", "i")) else "a"
        text += f"; {pod.container} is {article} {pod.kind} container"
    text += f"; {_resources(pod.current)}"
    if pod.desired != pod.current:
        text += f", a resize to {_resources(pod.desired)} is pending"
    return text


def _resources(resources: CpuResources) -> str:
    request, limit = resources.request_cores, resources.limit_cores
    return (
        f"request {'none' if request is None else cores(request)},"
        f" limit {'none' if limit is None else cores(limit)}"
    )


def _cpu(report: ContainerReport, window: Window) -> str:
    text = (
        f"{cores(window.cores_of(report))} cores: {window.cpu_ns_of(report) / 1e9:.1f} s of CPU"
        f" time in {window.duration_s:.1f} s ({plural(report.samples, 'sample')})"
    )
    if report.usage.usage_ns is not None:
        text += f"; the kernel counted {report.usage.usage_ns / 1e9:.1f} s"
    return text


def _limit(limit: CpuLimit, container: Container) -> str:
    if limit.problem:
        return f"could not be read ({limit.problem})"
    if limit.limit_cores is None:
        text = "none"
    elif limit.limit_cgroup in (None, container.cgroup):
        text = f"{cores(limit.limit_cores)} cores, set on its own cgroup"
    else:
        own = (
            "has none"
            if limit.leaf_limit_cores is None
            else f"allows {cores(limit.leaf_limit_cores)}"
        )
        text = (
            f"{cores(limit.limit_cores)} cores, set above it on {limit.limit_cgroup}; its own"
            f" cgroup {own}, and Go reads only that one"
        )
    if limit.cpuset_cpus is not None:
        text += f"; it may use {plural(limit.cpuset_cpus, 'CPU')}"
        if limit.cpuset_cgroup is not None:
            text += f" (cpuset of {limit.cpuset_cgroup})"
    if limit.weight is not None:
        text += f"; cpu.weight {limit.weight}"
    if limit.shares is not None:
        text += f"; cpu.shares {limit.shares}"
    return text


def _throttled(report: ContainerReport) -> str:
    usage = report.usage
    if usage.periods is None or usage.throttled_periods is None:
        return ""
    if not usage.throttled_periods:
        return f"never in {plural(usage.periods, 'period')}"
    text = f"in {usage.throttled_periods:,} of {plural(usage.periods, 'period')}"
    if usage.throttled_ns is not None:
        text += f", {seconds(usage.throttled_ns / 1e9)} in all"
    return text


def _gomaxprocs_steps(found: Gomaxprocs | None) -> list[str]:
    """The value and its origin, the value by the rules, and the value that fits."""
    if found is None:
        return ["unknown: no Go process was read"]
    if found.value is None:
        steps = [f"unreadable: {found.reason or 'no reason given'}"]
    else:
        steps = [f"{found.value}: {ORIGINS[found.origin]}"]
    if found.expected is not None:
        rule = f": {found.rule}" if found.rule else ""
        steps.append(f"{found.expected} is the value by the rules of its Go runtime{rule}")
    if found.recommended is not None:
        steps.append(f"{found.recommended} fits: {_bound(found)}")
    return steps


_BOUNDS = {
    Binding.QUOTA: "the CPU limit, rounded up to whole CPUs",
    Binding.CPUSET: "the CPUs of its cpuset",
    Binding.AFFINITY: "the CPUs that its affinity allows",
    Binding.HOST: "the CPUs of the host",
}


def _bound(found: Gomaxprocs) -> str:
    if not found.bound_by:
        return "the CPU it may use, rounded up to whole CPUs"
    return ", and also ".join(_BOUNDS[binding] for binding in found.bound_by)


def _category_bars(report: ContainerReport, window: Window, style: Style) -> list[str]:
    """Categories with samples, largest first: bar, samples, CPU, share and interval."""
    total = report.samples
    rows = sorted(
        ((int(report.category_samples[c]), c) for c in Category if report.category_samples[c]),
        key=lambda row: (-row[0], row[1]),
    )
    most = max((samples for samples, _ in rows), default=0)
    names = max((len(category.label) for _, category in rows), default=0)
    is_wide = style.room >= MIN_WIDTH
    figures = 8 + 7 + 9 + 13 if is_wide else 7
    length = max(0, min(style.room, MAX_TEXT) - 2 - names - 2 - figures)
    title = f"  {'Where the time goes':<{names + 2 + length}}"
    columns = (
        f"{'samples':>8}{'share':>7}{'cores':>9}{'95% interval':>13}" if is_wide else "  share"
    )
    lines = [painted(f"{title[: 2 + names + 2 + length]}{columns}", DIM, style)]
    for samples, category in rows:
        low, high = interval(samples, total)
        bar = _bar(samples / most * length, style)
        between = f"{100 * low:.0f}{dash(style)}{100 * high:.0f}%"
        used = f"{cores(window.cores_of(report) * samples / total):>9}"
        share = f"{percent(samples / total):>7}"
        lines.append(
            f"  {category.label:<{names}}  "
            + painted(bar, GROUP_PAINTS[category.group], style)
            + " " * (length - len(bar))
            + (f"{samples:>8,}{share}{used}{between:>13}" if is_wide else share)
        )
    groups = (
        f"{group.value} {percent(report.group_share(group))}"
        for group in Group
        if report.group_share(group)
    )
    summary = f"runtime {percent(report.runtime_share)} = scheduler + gc; " + ", ".join(groups)
    return [*lines, "", *(f"  {line}" for line in paragraph(summary, style.room - 2, style))]


def _bar(length: float, style: Style) -> str:
    """A bar in steps of an eighth of a column, if the terminal supports it."""
    if not style.unicode:
        return "#" * round(length)
    whole, eighths = divmod(round(length * 8), 8)
    return "█" * whole + ("", "▏", "▎", "▍", "▌", "▋", "▊", "▉")[eighths]


def _function_rows(report: ContainerReport, style: Style) -> list[str]:
    functions = report.functions[:EXPLAINED_FUNCTIONS]
    width = min(
        max((columns(word(f.function, style)) for f in functions), default=9),
        style.room - 2 - 8 - 12,
    )
    width = max(width, 9)
    lines = [painted(f"  {'Functions':<{width}}{'flat':>8}{'cumulative':>12}", DIM, style)]
    for function in functions:
        name = padded(shortened(function.function, width, style), width, right=False)
        total = report.samples or 1
        flat = percent(function.flat_samples / total)
        lines.append(f"  {name}{flat:>8}{percent(function.cumulative_samples / total):>12}")
    return lines
