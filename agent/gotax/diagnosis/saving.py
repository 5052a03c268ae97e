"""What another GOMAXPROCS would save: a prediction from the profile of one window."""

from __future__ import annotations

from gotax.model import Category, ContainerReport, Saving, SavingSource

MIN_HITS = 50

_PARTS: tuple[tuple[str, tuple[Category, ...], float, float], ...] = (
    # name, categories, what is left of it at one P, and at several
    (
        "looking for work and idle spinning",
        (Category.SCHED_FIND_WORK, Category.NETPOLL, Category.TIMERS),
        0.15,
        0.6,
    ),
    (
        "waking and parking threads",
        (Category.SCHED_WAKE, Category.SCHED_PARK, Category.SCHED_SYSMON),
        0.15,
        0.7,
    ),
    (
        "GC workers on idle Ps",
        (Category.GC_MARK_IDLE, Category.GC_MARK_DEDICATED, Category.GC_MARK_BACKGROUND),
        0.4,
        0.8,
    ),
    ("GC coordination and sweeping", (Category.GC_STW, Category.GC_SWEEP), 0.3, 0.5),
    ("user code", (Category.USER, Category.ALLOC, Category.SYSCALL), 0.9, 0.97),
)


def predict_saving(
    report: ContainerReport, target: int, host_cpus: int, duration_s: float
) -> Saving | None:
    """What GOMAXPROCS = ``target`` would save of the CPU this window of ``duration_s`` saw.

    None: GOMAXPROCS or the CPU time is not known, or there are too few samples to say.
    """
    gomaxprocs = report.main_process.gomaxprocs
    if gomaxprocs is None or gomaxprocs.value is None or report.cpu_ns is None:
        return None
    if report.hits < MIN_HITS or duration_s <= 0:
        return None
    cores = report.cpu_ns / 1e9 / duration_s
    if gomaxprocs.value <= target:
        return Saving(0.0, 0.0, 0.0)
    alone = target == 1 and host_cpus > 1
    sources = tuple(
        SavingSource(name, cores * report.share(*categories) * (1 - (one if alone else several)))
        for name, categories, one, several in _PARTS
    )
    mid = sum(source.cores for source in sources)
    reach = 0.3 * mid + 0.04 * cores
    ordered = tuple(sorted(sources, key=lambda source: -source.cores))
    return Saving(mid - reach, mid, mid + reach, ordered)
