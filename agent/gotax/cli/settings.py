"""The keys of the configuration file, and the flag that each key sets.

A key has the type, default and check of its flag.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from typing import Any, get_type_hints

from gotax.cli.command import CommandParser
from gotax.cli.options import THRESHOLDS
from gotax.exporters.backends import KINDS

_OF_BACKENDS = ("endpoint", "header", "token_file", "user", "ca", "cert", "key")

KEYS: dict[str, dict[str, str]] = {
    "sampling": {"hz": "hz", "interval_s": "interval", "proc": "proc", "sys": "sys"},
    "kubernetes": {
        "node": "node",
        "kubelet": "kubelet",
        "kubelet_insecure": "kubelet_insecure",
        "events": "events",
    },
    "findings": {
        **{name: name for name, _, _ in THRESHOLDS},
        "settle_s": "settle",
        "suppress": "suppress",
        "recipes": "recipes",
    },
    "metrics": {"listen": "listen", "drop_label": "drop_label", "max_series": "max_series"},
    "log": {"level": "log_level"},
    "stream": {
        "collector": "collector",
        "name": "collector_name",
        "ca": "collector_ca",
        "cert": "collector_cert",
        "key": "collector_key",
        "token_file": "collector_token_file",
        "plaintext": "collector_plaintext",
        "spool_dir": "spool_dir",
        "spool_max_bytes": "spool_max_bytes",
        "spool_max_age_s": "spool_max_age",
    },
    **{kind.name: {key: f"{kind.name}_{key}" for key in _OF_BACKENDS} for kind in KINDS},
}
"""By section: each key and its flag (with _ instead of -)."""

_SECRET_KEYS = {"header"}
_OF_THE_FILE = {"config", "print_config"}


@dataclass(frozen=True, slots=True)
class Setting:
    """An option of the agent: its key in the file and its flag in argparse."""

    section: str
    key: str
    action: argparse.Action

    @property
    def flag(self) -> str:
        return self.action.option_strings[-1]

    @property
    def kind(self) -> type:
        """bool, int, float or str: the type of a value in the file, or of those of an array."""
        if self.action.nargs == 0:
            return bool
        if self.action.type is None:
            return str
        made: type = get_type_hints(self.action.type)["return"]
        return made if made in (int, float) else str

    @property
    def is_repeatable(self) -> bool:
        return isinstance(self.action.default, list)

    @property
    def is_secret(self) -> bool:
        return self.key in _SECRET_KEYS

    def default(self) -> Any:
        return list(self.action.default) if self.is_repeatable else self.action.default


def settings_of(parser: CommandParser) -> tuple[Setting, ...]:
    options = parser.options()
    return tuple(
        Setting(section, key, options[dest])
        for section, keys in KEYS.items()
        for key, dest in keys.items()
    )


def unnamed(parser: CommandParser) -> set[str]:
    """Options that should have a key but have none."""
    named = {dest for keys in KEYS.values() for dest in keys.values()}
    return parser.options().keys() - named - _OF_THE_FILE
