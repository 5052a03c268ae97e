"""Libraries that gotax can do without: what to install when something needs one."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import cast

from gotax.errors import UserError

EXTRAS = {
    "kubernetes": frozenset({"lightkube", "httpx2"}),
    "otlp": frozenset({"opentelemetry"}),
    "collector": frozenset(
        {
            *("grpc_health", "grpc_reflection", "clickhouse_connect", "chdb"),
            *("starlette", "uvicorn", "jinja2", "markupsafe"),
        }
    ),
}
"""By the name in pyproject.toml: the modules that come with it."""


@contextmanager
def needed_by(what: str, extra: str = "") -> Iterator[None]:
    """A library that is missing inside becomes a UserError, with the command that installs it.

    ``extra``: what a library belongs to that ``EXTRAS`` does not name, for instance one of another
    library's; "" for gotax itself.
    """
    try:
        yield
    except ImportError as error:
        if is_own(error):
            raise
        raise UserError(sentence(what, error, extra)) from error


def sentence(what: str, error: ImportError, extra: str = "") -> str:
    # A library that says it in its own words, as clickhouse_connect does of chdb, has a cause.
    while error.name is None and isinstance(error.__cause__ or error.__context__, ImportError):
        error = cast(ImportError, error.__cause__ or error.__context__)
    module = (error.name or "a library").split(".")[0]
    found = next((name for name, modules in EXTRAS.items() if module in modules), extra)
    package = f"'gotax[{found}]'" if found else "gotax"
    install = f"{sys.executable} -m pip install"
    if isinstance(error, ModuleNotFoundError):
        return f"{what} needs {module}, which is not installed: {install} {package}"
    return f"{what} cannot use the {module} that is installed ({error}): {install} -U {package}"


def is_own(error: ImportError) -> bool:
    """A module of gotax itself: no remedy of the user's mends that."""
    return (error.name or "").split(".")[0] in ("gotax", "gotax_collector")
