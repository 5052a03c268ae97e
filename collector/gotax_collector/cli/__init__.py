"""Command lines: ``gotax collector`` and ``gotax fleet``."""
