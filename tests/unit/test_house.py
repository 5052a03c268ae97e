"""The rules of the code, as far as a program can check them."""

from __future__ import annotations

import ast
import builtins
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
AGENT = ROOT / "agent" / "gotax"
COLLECTOR = ROOT / "collector" / "gotax_collector"

# Which package may import which: in the order of this table, a later one may import earlier ones.
# "" is the package itself, for its version.
VALUES = (
    *("category", "profile", "process", "waiting", "recipe", "other", "findings", "comparison"),
    "window",
)
KNOWS: dict[str, set[str]] = {
    "": set(),
    "errors": set(),
    "extras": {"errors"},
    "usage": set(),
    "page": set(),
    "category": set(),
    "profile": {"category"},
    "process": set(),
    "waiting": set(),
    "recipe": set(),
    "recipes": {"errors", "recipe"},
    "other": {"process", "recipe"},
    "findings": set(),
    "comparison": {"category", "profile", "process", "findings"},
    "window": {"category", "profile", "process", "waiting", "other", "findings", "comparison"},
    "rolling": {*VALUES},
    "config": set(),
    "wire": set(),
    "confidence": {"wire"},
    "lru": set(),
    "names": {"process"},
    "runs": {"category", "profile"},
    "sampling": {"errors", "category", "profile", "process", "config"},
    "linux": {"errors", "category", "profile", "process", "waiting", "config", "lru"},
    "golang": {"errors", "category", "profile", "process", "linux"},
    "diagnosis": {"errors", *VALUES, "config", "confidence"},
    "kubernetes": {"errors", "process"},
    "exporters": {"", "errors", "extras", *VALUES, "rolling", "page", "wire", "confidence"},
    "preflight": {
        *("", "errors", "extras", "category", "process", "findings", "window", "config"),
        *("linux", "golang", "diagnosis", "kubernetes", "exporters"),
    },
    "reader": {"errors", "category", "profile", "process", "recipe", "lru", "linux", "golang"},
    "processes": {
        *("errors", "category", "profile", "process", "waiting", "config", "lru", "linux"),
        *("golang", "reader", "recipe", "other"),
    },
    "symbols": {
        *("errors", "category", "profile", "process", "lru", "runs", "linux", "golang"),
        *("reader", "processes"),
    },
    "attribution": {"category", "profile", "sampling", "processes", "symbols"},
    "accumulator": {
        *("category", "profile", "process", "window", "sampling", "processes", "symbols"),
        "attribution",
    },
    "health": {"names", "window", "processes", "symbols"},
    "pipeline": {
        *("category", "profile", "window", "config", "names", "sampling", "diagnosis"),
        *("processes", "symbols", "attribution", "accumulator", "health"),
    },
    "scope": {"errors", "config", "linux", "sampling"},
    "session": {
        *("errors", *VALUES, "config", "names", "sampling", "linux"),
        *("reader", "processes", "pipeline", "scope"),
    },
    "forked": set(),
    "addr2line": {"errors", "category", "profile", "linux", "forked", "golang", "reader"},
    "selftest": {"errors", "config", "linux", "reader", "sampling"},
    "recording": {"errors", *VALUES, "diagnosis"},
    "httpserver": {"errors", "exporters", "wire"},
    "daemon": {"errors", *VALUES, "config", "exporters", "session", "linux", "httpserver"},
    "cli": {
        *("", "errors", "extras", *VALUES, "rolling", "config", "names", "diagnosis", "kubernetes"),
        *("exporters", "wire", "linux", "reader", "scope", "session", "addr2line", "recording"),
        *("selftest", "preflight", "recipes"),
        *("daemon", "httpserver", "usage"),
    },
    "__main__": {"cli"},
}
# The same within a package: a module may import those before it.
WITHIN: dict[str, tuple[str, ...]] = {
    "processes": (
        *("__init__", "counts", "files", "longlists", "binaries", "containers", "membership"),
        *("address_space", "layout", "program", "go_runtime", "tracked_process", "table"),
        *("turns", "memories", "waits", "thread_counts", "others", "inspection", "first_look"),
        "resolver",
    ),
    "reader": (
        *("__init__", "message", "confinement", "opened", "binary", "facts", "binarywork"),
        *("mapped", "work", "worker", "asking", "server", "connection", "groups", "pool"),
    ),
    "symbols": (
        *("__init__", "classified", "known_stacks", "ranges", "walks", "sequences", "batch"),
        *("kernel", "symbolizer"),
    ),
}
# Reads of files that containers own, in linux and golang: only processes/files.py may call them.
CONTAINERS_FILES = {
    *("read_exe_id", "read_exe_link", "read_maps", "read_first_addresses"),
    *("find_mapped_file", "read_auxv", "read_environment", "read_cgroup_fds", "read_memory"),
    "read_arguments",
    *(
        "read_memory_parts",
        "read_allowed_cpus",
        "read_values",
        "read_cgroup_view",
    ),
}
KERNELS_FILES = {"read_exe_link", "read_allowed_cpus"}
"""Reads in processes/files.py that ask neither a file system nor the memory of the process."""
# The same for the collector. Of the agent it may import gotax.page, gotax.usage and gotax.wire.
SHARED_BY_AGENT = (["page"], ["usage"], ["wire"])
SHARED = {"errors", "refusal", "report"}
KNOWS_COLLECTOR: dict[str, set[str]] = {
    "": set(),
    "errors": set(),
    "refusal": {"errors"},
    "report": {"errors"},
    "relay": set(),
    "security": {"errors", "refusal"},
    "ingest": {*SHARED, "relay", "security"},
    "storage": {"errors", "report"},
    "query": {"errors", "storage"},
    "metrics": {"refusal", "relay", "security", "ingest"},
    "http": {"errors", "refusal", "relay", "query", "metrics"},
    "remedies": {"errors", "query"},
    "cli": {
        *(*SHARED, "relay", "security", "ingest", "storage", "query", "metrics", "http"),
        "remedies",
    },
}
ONLY_COLLECTOR: dict[str, str | tuple[str, ...]] = {
    "clickhouse_connect": "storage/clickhouse.py",
    "google": "ingest/",
    "grpc": ("ingest/", "security/certificates.py"),
    "grpc_health": "ingest/",
    "grpc_reflection": "ingest/",
    "prometheus_client": "metrics.py",
    "starlette": "http/",
    "uvicorn": "http/",
    "jinja2": "http/",
    "markupsafe": "http/",
    "yaml": "remedies/yamltext.py",
}
MODULE_LINES_MAX = 400
CLASS_LINES_MAX, CLASS_METHODS_MAX = 300, 25
ONLY: dict[str, str | tuple[str, ...]] = {  # the only module that may import a library
    "bcc": "sampling/compiler.py",
    "prometheus_client": "exporters/textformat.py",
    "google": "wire/",
    "grpc": (
        "exporters/grpcchannel.py",
        "exporters/stream/connection.py",
        "exporters/backends/grpccall.py",
    ),
    "opentelemetry": ("exporters/backends/otlp.py", "exporters/backends/opentelemetry.py"),
    "shtab": "cli/completion.py",
    "lightkube": "kubernetes/",
    "httpx2": "kubernetes/",
    "yaml": "preflight/yamltree.py",
    "backports": "preflight/archive.py",
}
PURE = (
    *(f"{name}.py" for name in VALUES),
    *("rolling.py", "errors.py", "config.py", "confidence.py", "lru.py", "wire/significance.py"),
    *("diagnosis/*.py", "diagnosis/rules/*.py"),
    *("golang/buildinfo.py", "golang/categories.py", "golang/classmap.py"),
    *("golang/functab.py", "golang/inline.py", "golang/alternatives.py"),
    *("golang/automaxprocs.py", "golang/origin.py", "golang/prediction.py", "golang/startup.py"),
    *("golang/machinecode.py", "golang/moduledata.py", "golang/pcheader.py"),
    *("golang/pclntab.py", "golang/pcvalue.py"),
    "golang/stacks.py",
    *("kubernetes/pods.py", "kubernetes/quantities.py", "kubernetes/workloads.py"),
    *("exporters/comparison.py", "exporters/stream/encoding.py", "exporters/stream/interning.py"),
    *("exporters/folded.py", "exporters/pprof.py", "exporters/record.py", "exporters/report.py"),
    *(
        "exporters/backends/otlp.py",
        "exporters/backends/containerprofile.py",
        "exporters/backends/series.py",
    ),
    *(
        "exporters/metrics/family.py",
        "exporters/metrics/containers.py",
        "exporters/metrics/host.py",
        "exporters/metrics/others.py",
        "exporters/metrics/totals.py",
    ),
    *("exporters/stream/metrics.py", "exporters/backends/metrics.py"),
    *("exporters/events/metrics.py", "exporters/events/notices.py"),
    *("exporters/style.py", "exporters/terminal/*.py", "exporters/text.py"),
    *("preflight/spec.py", "preflight/memory.py", "preflight/forecast.py", "preflight/static.py"),
    *("preflight/lintcodes.py", "preflight/lintcpu.py", "preflight/lintmemory.py"),
    *("preflight/lintrules.py", "preflight/located.py", "preflight/manifest.py"),
    *("preflight/linting.py", "preflight/rendering.py", "preflight/document.py"),
)
HARMLESS = {
    *(
        "__future__",
        "collections",
        "dataclasses",
        "decimal",
        "enum",
        "fnmatch",
        "functools",
        "gzip",
        "itertools",
    ),
    *("hashlib", "json", "math", "numpy", "re", "shlex", "struct", "typing", "unicodedata"),
    "opentelemetry",  # generated types; ONLY has their importers
}
# sys: one constant of this machine each (byteorder, intern), no streams and no arguments.
HARMLESS_NAMES = {"sys": {"byteorder", "intern", "maxsize"}}
VAGUE = re.compile(
    r"(utils?|helpers?|common|base|manager|handler|service|engine|misc)s?", re.IGNORECASE
)
PARAMETERS_MAX = 5
MODULE_LINES_MAX = 400
CLASS_LINES_MAX = 300
CLASS_METHODS_MAX = 25
LARGE = {
    # Flat tables, and all of one format:
    *("diagnosis/calibrated.py", "golang/categories.py", "linux/elf.py"),
    *("golang/pclntab.py", "golang/pclntab.py: Pclntab"),
}
CATCH_ALL_MAX = 2


def sources(package: Path) -> list[Path]:
    return sorted(p for p in package.rglob("*.py") if not p.name.endswith("_pb2.py"))


def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(), str(path))


def imports(module: ast.Module) -> Iterator[str]:
    """Dotted names, at the top and in functions; ``from a import b`` is ``a.b``."""
    for node in ast.walk(module):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            prefix = "." * node.level + (node.module or "")
            yield from (f"{prefix}.{alias.name}" for alias in node.names)


def part(relative: Path) -> str:
    """The entry of KNOWS for a file."""
    return relative.parts[0] if len(relative.parts) > 1 else relative.stem.replace("__init__", "")


def arrows(
    package: Path, name_of_package: str = "gotax", knows: Mapping[str, set[str]] = KNOWS
) -> list[str]:
    """Imports against the order of ``knows``."""
    found = []
    for path in sources(package):
        relative = path.relative_to(package)
        own = part(relative)
        if own not in knows:
            found.append(f"{relative}: say in the table whom {own} may know")
            continue
        for name in imports(tree(path)):
            if name.startswith("."):
                found.append(f"{relative}: relative import {name}")
            first, _, rest = name.partition(".")
            if first != name_of_package:
                continue
            target = rest.split(".")[0]
            target = target if target in knows else ""
            if target != own and target not in knows[own]:
                found.append(f"{relative}: imports {name}")
    return found


def inner_arrows(package: Path) -> list[str]:
    """Imports within a package against the order of WITHIN, and modules that it does not list."""
    found = []
    for name, order in WITHIN.items():
        for path in sources(package / name):
            if path.stem not in order:
                found.append(f"{name}/{path.name}: is not in WITHIN")
                continue
            before = order[: order.index(path.stem)]
            for imported in imports(tree(path)):
                first, _, rest = imported.partition(f"gotax.{name}.")
                if not first and rest and rest.split(".")[0] not in before:
                    found.append(f"{name}/{path.name}: imports {imported}")
    return found


def other_ways_to_files(package: Path) -> list[str]:
    """Reads of files that containers own that no reader makes."""
    return [
        f"{path.relative_to(package)}: {name}"
        for folder in ("reader", "processes", "symbols")
        for path in sources(package / folder)
        if path != package / "reader" / "work.py"
        for node in ast.walk(tree(path))
        if (name := getattr(node, "attr", getattr(node, "id", getattr(node, "name", ""))))
        in (CONTAINERS_FILES - (KERNELS_FILES if path.stem == "files" else set()))
    ]


def large(package: Path) -> list[str]:
    """Modules and classes that are too large."""
    found = []
    for path in sources(package):
        relative = str(path.relative_to(package))
        if len(path.read_text().splitlines()) > MODULE_LINES_MAX:
            found.append(relative)
        for node in ast.walk(tree(path)):
            if isinstance(node, ast.ClassDef):
                lines = (node.end_lineno or node.lineno) - node.lineno + 1
                methods = sum(
                    isinstance(part, ast.FunctionDef | ast.AsyncFunctionDef) for part in node.body
                )
                if lines > CLASS_LINES_MAX or methods > CLASS_METHODS_MAX:
                    found.append(f"{relative}: {node.name}")
    return found


def arrows_of_rooms(package: Path) -> list[str]:
    """Imports of the collector against KNOWS_COLLECTOR, and of the agent beyond what both share."""
    of_agent = [
        f"{path.relative_to(package)}: imports {name}"
        for path in sources(package)
        for name in imports(tree(path))
        if name.split(".")[0] == "gotax" and name.split(".")[1:2] not in SHARED_BY_AGENT
    ]
    return arrows(package, "gotax_collector", KNOWS_COLLECTOR) + of_agent


def foreign(package: Path, only: Mapping[str, str | tuple[str, ...]] = ONLY) -> list[str]:
    """Libraries imported outside of the only allowed place."""
    return [
        f"{path.relative_to(package)}: imports {name}"
        for path in sources(package)
        for name in imports(tree(path))
        if (place := only.get(name.split(".")[0]))
        and not str(path.relative_to(package)).startswith(place)
    ]


def impurities(package: Path) -> list[str]:
    """Forbidden imports of pure modules, and parse_ functions with side effects."""
    found = []
    for path in (p for pattern in PURE for p in sorted(package.glob(pattern))):
        module = tree(path)
        for name in imports(module):
            first = name.split(".")[0]
            if first not in {"gotax", *HARMLESS, *HARMLESS_NAMES}:
                found.append(f"{path.relative_to(package)}: imports {name}")
        for node in ast.walk(module):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
                names = HARMLESS_NAMES.get(node.value.id)
                if names is not None and node.attr not in names:
                    found.append(f"{path.relative_to(package)}: {node.value.id}.{node.attr}")
    for path in sources(package):
        for node in ast.walk(tree(path)):
            if isinstance(node, ast.FunctionDef) and node.name.startswith("parse_"):
                reached = {n.id for n in ast.walk(node) if isinstance(n, ast.Name)}
                for name in sorted(reached & {"open", "Path", "os", "time", "socket"}):
                    found.append(f"{path.relative_to(package)}: {node.name} uses {name}")
    return found


def catch_alls(package: Path) -> list[str]:
    """``except Exception``, bare ``except``, and ``except BaseException`` that does not raise."""
    found = []
    for path in sources(package):
        for node in ast.walk(tree(path)):
            if not isinstance(node, ast.ExceptHandler):
                continue
            caught = ast.unparse(node.type) if node.type else "BaseException"
            goes_on = not any(isinstance(n, ast.Raise) for n in node.body)
            if "Exception" in re.split(r"\W+", caught) or ("BaseException" in caught and goes_on):
                found.append(f"{path.relative_to(package)}:{node.lineno}")
    return found


def vague_names(package: Path) -> list[str]:
    return [
        str(path.relative_to(package))
        for path in sources(package)
        if any(VAGUE.fullmatch(Path(name).stem) for name in path.relative_to(package).parts)
    ]


def long_signatures(package: Path) -> list[str]:
    """Functions with more than five parameters (without self)."""
    found = []
    for path in sources(package):
        for node in ast.walk(tree(path)):
            if isinstance(node, ast.FunctionDef):
                every = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
                named = [a for a in every if a.arg not in ("self", "cls")]
                if len(named) > PARAMETERS_MAX:
                    found.append(f"{path.relative_to(package)}: {node.name}")
    return found


def hidden_builtins(package: Path) -> list[str]:
    """Modules, functions, classes, parameters and fields with the name of a builtin.

    ``format`` of a logging.Formatter is the standard library's name.
    """
    names = set(dir(builtins)) - {"__doc__", "format"}
    found = []
    for path in sources(package):
        relative = str(path.relative_to(package))
        used = [(1, path.stem)]
        for node in ast.walk(tree(path)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                used.append((node.lineno, node.name))
            elif isinstance(node, ast.arg):
                used.append((node.lineno, node.arg))
            elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                used.append((node.lineno, node.id))
            elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
                used.append((node.lineno, node.attr))
        found += [f"{relative}:{line}: {name}" for line, name in used if name in names]
    return found


def too_large(package: Path) -> list[str]:
    """Modules and classes of the collector that are too large."""
    found = []
    for path in sources(package):
        relative = path.relative_to(package)
        lines = path.read_text().count("\n")
        if lines > MODULE_LINES_MAX:
            found.append(f"{relative}: {lines} lines")
        for node in ast.walk(tree(path)):
            if isinstance(node, ast.ClassDef):
                length = (node.end_lineno or node.lineno) - node.lineno + 1
                methods = sum(
                    isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef) for n in node.body
                )
                if length > CLASS_LINES_MAX or methods > CLASS_METHODS_MAX:
                    found.append(f"{relative}: {node.name}, {length} lines, {methods} methods")
    return found


def loose_values(path: Path) -> list[str]:
    """Dataclasses of a module that are not frozen and slotted."""
    return [
        node.name
        for node in ast.walk(tree(path))
        if isinstance(node, ast.ClassDef)
        for decorator in node.decorator_list
        if "dataclass" in (text := ast.unparse(decorator))
        and not ("frozen=True" in text and "slots=True" in text)
    ]


def slug(heading: str) -> str:
    """GitHub's anchor of a heading."""
    text = re.sub(r"[^\w\- ]", "", heading.strip().lower())
    return text.replace(" ", "-")


def anchors(document: Path) -> set[str]:
    if not document.exists():
        return set()
    text = re.sub(r"```.*?```", "", document.read_text(), flags=re.S)
    return {slug(heading) for heading in re.findall(r"^#+ (.*)$", text, re.M)}


def documents(root: Path) -> list[Path]:
    hidden = {"node_modules", "build", "dist"}
    return sorted(
        path
        for path in root.rglob("*.md")
        if not any(p.startswith(".") or p in hidden for p in path.relative_to(root).parts)
    )


def broken_links(root: Path) -> list[str]:
    """Links of documents to files or headings that are not there."""
    found = []
    for document in documents(root):
        text = re.sub(r"```.*?```", "", document.read_text(), flags=re.S)
        for link in re.findall(r"\]\(([^)\s]+)\)", text):
            if re.match(r"[a-z]+:", link):
                continue
            name, _, anchor = link.partition("#")
            target = document.parent / name if name else document
            headings = anchors(target) if anchor and target.suffix == ".md" else {anchor}
            if not target.exists() or anchor not in headings:
                found.append(f"{document.relative_to(root)}: {link}")
    return found


def broken_mentions(root: Path) -> list[str]:
    """Missing documents that sources refer to."""
    folders = [
        root / name for name in ("agent", "bpf", "collector", "proto", "tests", "bench", "demo")
    ]
    return [
        f"{path.relative_to(root)}: {mention}"
        for folder in folders
        for path in sorted(folder.rglob("*"))
        if path.suffix in {".py", ".c", ".h", ".go", ".proto"} and path != Path(__file__)
        for mention in re.findall(r"\bdocs/[\w./-]+?\.(?:md|json)\b", path.read_text())
        if not (root / mention).exists()
    ]


def test_imports_follow_the_order_of_the_packages() -> None:
    """No package imports a later one."""
    assert arrows(AGENT) == []


def test_imports_within_a_package_have_an_order() -> None:
    """There is no cycle, and each module is in the list."""
    assert inner_arrows(AGENT) == []
    for name, order in WITHIN.items():
        assert sorted(path.stem for path in sources(AGENT / name)) == sorted(order)


def test_files_of_containers_are_read_in_one_place() -> None:
    """In a separate process, which can be stopped."""
    assert other_ways_to_files(AGENT) == []
    work = ast.unparse(tree(AGENT / "reader" / "work.py"))
    assert all(name in work for name in CONTAINERS_FILES - {"read_memory_parts"} - KERNELS_FILES)
    files = ast.unparse(tree(AGENT / "processes" / "files.py"))
    assert all(name in files for name in KERNELS_FILES)


def test_modules_and_classes_are_small() -> None:
    """The exceptions are in a list, and the list has no other entries."""
    assert {*large(AGENT), *large(COLLECTOR)} == LARGE


def test_every_package_is_in_the_table_once() -> None:
    """The table has only existing modules, and no cycle."""
    parts = {part(path.relative_to(AGENT)) for path in sources(AGENT)}
    assert set(KNOWS) == parts
    order = list(KNOWS)
    for own, known in KNOWS.items():
        assert all(order.index(name) < order.index(own) for name in known), own


def test_the_packages_of_the_collector_are_separate() -> None:
    """Storage does not import http, ingest does not import query; of the agent only gotax.wire."""
    assert arrows_of_rooms(COLLECTOR) == []
    assert set(KNOWS_COLLECTOR) == {part(p.relative_to(COLLECTOR)) for p in sources(COLLECTOR)}
    order = list(KNOWS_COLLECTOR)
    for own, known in KNOWS_COLLECTOR.items():
        assert all(order.index(name) < order.index(own) for name in known), own


def test_modules_of_the_collector_are_small() -> None:
    """400 lines a module; 300 lines and 25 methods a class."""
    assert too_large(COLLECTOR) == []


def test_no_name_of_the_collector_hides_a_builtin() -> None:
    """``except ConnectionError`` meant another class than the reader thought."""
    assert hidden_builtins(COLLECTOR) == []


def test_libraries_of_the_collector_are_imported_in_one_package() -> None:
    """The database client, gRPC, the web server and the metrics."""
    assert foreign(COLLECTOR, ONLY_COLLECTOR) == []
    used = {n.split(".")[0] for p in sources(COLLECTOR) for n in imports(tree(p))}
    assert set(ONLY_COLLECTOR) <= used


def test_the_collector_keeps_the_rules_of_the_agent() -> None:
    """Names of the domain, and five parameters at most."""
    assert vague_names(COLLECTOR) == []
    assert long_signatures(COLLECTOR) == []


def test_libraries_are_imported_in_one_place() -> None:
    """bcc, the protobuf runtime and prometheus-client have one importer each."""
    assert foreign(AGENT) == []


def test_pure_modules_are_pure() -> None:
    """They use no file, clock, environment or thread; parse_ functions open nothing."""
    assert impurities(AGENT) == []
    assert all(list(AGENT.glob(pattern)) for pattern in PURE)


def test_errors_are_caught_by_name() -> None:
    """At most two places catch everything."""
    assert len(catch_alls(AGENT)) <= CATCH_ALL_MAX


def test_modules_have_names_of_the_domain() -> None:
    """No module is called utils, common, manager and the like."""
    assert vague_names(AGENT) == []


def test_parameters_are_five_at_most() -> None:
    """A function with more needs a type."""
    assert long_signatures(AGENT) == []


def test_values_are_frozen_and_slotted() -> None:
    """Data between stages cannot be changed."""
    assert [loose_values(AGENT / f"{name}.py") for name in VALUES] == [[]] * len(VALUES)
    assert loose_values(AGENT / "config.py") == []


def test_links_of_the_documents_are_valid() -> None:
    """Every relative link has its file, and every anchor its heading."""
    assert documents(ROOT)
    assert broken_links(ROOT) == []


def test_sources_refer_to_documents_that_exist() -> None:
    """A comment that refers to docs/ refers to an existing file."""
    assert broken_mentions(ROOT) == []


BAD = {
    "arrows": {"golang/pclntab.py": "from gotax.pipeline import Pipeline"},
    "arrows of a local import": {"linux/elf.py": "def f():\n    import gotax.golang.stacks"},
    "arrows of a name": {"diagnosis/totals.py": "from gotax import session"},
    "relative": {"golang/pclntab.py": "from . import stacks"},
    "unknown part": {"gateway.py": ""},
    "bcc": {"sampling/sampler.py": "def f():\n    from bcc import BPF"},
    "impure": {"golang/stacks.py": "import os.path"},
    "impure from": {"diagnosis/findings.py": "from time import monotonic"},
    "impure sys": {"golang/pclntab.py": "import sys\nsys.stdout.write('')"},
    "parse_ that opens": {"linux/procfs.py": "def parse_stat(path):\n    return open(path)"},
    "catch all": {f"linux/{n}.py": "try: pass\nexcept Exception: pass" for n in "abc"},
    "bare": {f"linux/{n}.py": "try: pass\nexcept: pass" for n in "abc"},
    "in a tuple": {f"linux/{n}.py": "try: pass\nexcept (OSError, Exception): 0" for n in "abc"},
    "vague": {"linux/common.py": ""},
    "vague folder": {"helpers/elf.py": ""},
    "large module": {"linux/elf.py": "\n" * 401},
    "long class": {"linux/elf.py": "class A:\n" + "    x = 0\n" * 300},
    "class of many methods": {
        "linux/elf.py": "class A:\n" + "".join(f"    def f{n}(self): 0\n" for n in range(26))
    },
    "backwards in a package": {
        "processes/files.py": "from gotax.processes.table import ProcessTable"
    },
    "itself in a package": {"processes/files.py": "from gotax.processes.files import x"},
    "another way to files": {
        "processes/table.py": "def f(procfs):\n    procfs.read_environment(1)"
    },
    "another way imported": {"symbols/walks.py": "from gotax.linux.mappings import read_maps"},
    "unknown in a package": {"processes/tables.py": ""},
    "six parameters": {"linux/elf.py": "def f(a, b, c, d, *, e, g): pass"},
}


@pytest.mark.parametrize("case", BAD)
def test_a_violation_is_found(tmp_path: Path, case: str) -> None:
    """Each rule fails for a tree that violates it, and not for the same tree without the
    violation."""

    def breaches() -> list[str]:
        rules = [arrows, inner_arrows, foreign, impurities, vague_names, long_signatures]
        rules += [large, other_ways_to_files]
        found = [breach for rule in rules for breach in rule(tmp_path)]
        everything = catch_alls(tmp_path)
        return found + (everything if len(everything) > CATCH_ALL_MAX else [])

    good = {"__init__.py": "", "linux/elf.py": "import os\nfrom gotax.errors import ParseError"}
    for name, text in good.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    assert breaches() == []
    for name, text in BAD[case].items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    assert breaches() != []


BAD_ROOMS = {
    "the agent's inside": {"query/answers.py": "from gotax.profile import Category"},
    "the agent itself": {"query/answers.py": "import gotax"},
    "the agent, late": {"ingest/server.py": "def f():\n    from gotax import window"},
    "storage knows http": {"storage/rows.py": "from gotax_collector.http import api"},
    "ingest knows query": {"ingest/intake.py": "import gotax_collector.query.answers"},
    "ingest knows storage": {"ingest/intake.py": "from gotax_collector import storage"},
    "query knows ingest": {"query/answers.py": "from gotax_collector.ingest.limits import Limits"},
    "http knows cli": {"http/api.py": "from gotax_collector.cli.tables import top"},
    "a new room": {"alerts/rules.py": ""},
    "grpc elsewhere": {"query/answers.py": "import grpc.aio"},
    "a hidden class": {"errors.py": "class ConnectionError(Exception): pass"},
    "a hidden parameter": {"storage/rows.py": "def f(*, id): pass"},
    "a hidden property": {"storage/rows.py": "class A:\n    def bytes(self): pass"},
    "a hidden field": {"storage/rows.py": "class A:\n    hash: int = 0"},
    "a hidden variable": {"storage/rows.py": "x = [hash for hash in 'ab']"},
    "a hidden attribute": {"storage/rows.py": "def f(self):\n    self.type = 1"},
    "a module": {"storage/filter.py": ""},
    "a long module": {"storage/rows.py": "\n" * 401},
    "a long class": {"storage/rows.py": "class A:\n" + "    x = 1\n" * 300},
    "many methods": {
        "storage/rows.py": "class A:\n" + "".join(f"    def f{n}(self): 0\n" for n in range(26))
    },
}


@pytest.mark.parametrize("case", BAD_ROOMS)
def test_a_violation_of_the_collectors_rules_is_found(tmp_path: Path, case: str) -> None:
    """Each rule fails for a tree that violates it, and not without the violation."""

    def breaches() -> list[str]:
        rules = (arrows_of_rooms, hidden_builtins, too_large)
        found = [breach for rule in rules for breach in rule(tmp_path)]
        return found + foreign(tmp_path, ONLY_COLLECTOR)

    good = {
        "errors.py": "class CollectorError(Exception): pass\n" + "\n" * 399,
        "ingest/intake.py": "from gotax.wire.v1 import ingest_pb2\nimport gotax.wire.addresses",
        "storage/rows.py": "from gotax_collector.report import Report\ndef f(kind): pass",
        "cli/logs.py": "class A:\n" + "    x = 1\n" * 299,
    }
    for trees in (good, BAD_ROOMS[case]):
        assert breaches() == []
        for name, text in trees.items():
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_text(text)
    assert breaches() != []


def test_a_mutable_value_is_found(tmp_path: Path) -> None:
    """Frozen without slots is not enough."""
    path = tmp_path / "model.py"
    path.write_text("@dataclass(frozen=True)\nclass A:\n    x: int\n")
    assert loose_values(path) == ["A"]


def test_a_broken_link_is_found(tmp_path: Path) -> None:
    """A missing file and a missing heading are reported; code, URLs and valid links are not."""
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs/a.md").write_text("# One two\n```\n[x](gone.md)\n```\n")
    (tmp_path / "README.md").write_text(
        "[a](docs/a.md) [b](docs/a.md#one-two) [c](https://example.com/x.md)"
        " [d](docs/b.md) [e](docs/a.md#three) [f](#four)"
    )
    (tmp_path / "agent").mkdir()
    (tmp_path / "agent/a.py").write_text("# docs/a.md and docs/gone.md\n")
    assert broken_links(tmp_path) == [
        "README.md: docs/b.md",
        "README.md: docs/a.md#three",
        "README.md: #four",
    ]
    assert broken_mentions(tmp_path) == ["agent/a.py: docs/gone.md"]
