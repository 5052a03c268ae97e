"""Builds all that the tests of this folder need and that is not there yet; says what and how big.

python -m tests.e2e, which is what `make e2e` does before it calls pytest.
"""

from __future__ import annotations

import sys

from tests.e2e.cluster.images import ImageError, size_of
from tests.e2e.cluster.programs import BuildError, say
from tests.e2e.parts import make_parts


def main() -> int:
    try:
        parts = make_parts()
    except (BuildError, ImageError) as error:
        say(str(error))
        return 2
    for what, archive in (("of the Dockerfile", parts.gotax), ("with collector", parts.collector)):
        say(f"the image {what} has {size_of(archive) / 1e6:.0f} MB unpacked")
    return 0


if __name__ == "__main__":
    sys.exit(main())
