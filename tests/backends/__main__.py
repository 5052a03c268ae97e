"""Builds the receivers; `make backends` does it before their tests."""

from __future__ import annotations

import sys

from tests.backends.receivers import RECEIVERS, built
from tests.toolchains import ToolchainError

for name in RECEIVERS:
    try:
        print(built(name), file=sys.stderr)
    except ToolchainError as error:
        sys.exit(f"{name}: {error}")
