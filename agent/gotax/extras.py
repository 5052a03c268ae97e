"""Optional libraries, and the command that installs a missing one."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import cast

from gotax.errors import UserError

EXTRAS = {
    "kubernetes": frozenset({"lightkube", "httpx2"}),
    "otlp": frozenset({"opentelemetry"}),
    "completion": frozenset({"shtab"}),
    "lint": frozenset({"yaml"}),
    "image": frozenset({"backports"}),
    "collector": frozenset(
        {
            *("grpc_health", "grpc_reflection", "clickhouse_connect", "chdb"),
            *("starlette", "uvicorn", "jinja2", "markupsafe"),
        }
    ),
}
"""By extra (the name in pyproject.toml): its modules."""


@contextmanager
def needed_by(what: str, extra: str = "") -> Iterator[None]:
    """Turns the ImportError of a missing library into a UserError with the install command.

    ``extra``: the extra of libraries that ``EXTRAS`` does not name, such as dependencies of other
    libraries; "" for gotax itself.
    """
    try:
        yield
    except ImportError as error:
        if is_own(error):
            raise
        raise UserError(sentence(what, error, extra)) from error


def sentence(what: str, error: ImportError, extra: str = "") -> str:
    # A library may raise its own error, as clickhouse_connect does for chdb: look at the cause.
    while error.name is None and isinstance(error.__cause__ or error.__context__, ImportError):
        error = cast(ImportError, error.__cause__ or error.__context__)
    module = (error.name or "a library").split(".")[0]
    found = next((name for name, modules in EXTRAS.items() if module in modules), extra)
    package = f"'gotax[{found}]'" if found else "gotax"
    install = f"{sys.executable} -m pip install"
    if isinstance(error, ModuleNotFoundError):
        return f"{what} needs {module}, which is not installed: {install} {package}"
    return f"{what} cannot use the installed {module} ({error}): {install} -U {package}"


def is_own(error: ImportError) -> bool:
    """A module of gotax itself is missing: the user cannot fix that."""
    return (error.name or "").split(".")[0] in ("gotax", "gotax_collector")
