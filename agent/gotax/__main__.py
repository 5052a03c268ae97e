"""``python -m gotax``."""

import sys

from gotax.cli import main

sys.exit(main())
