"""YAML, read from agents and written for kubectl.

Texts of agents are hostile: what is read has no anchors and little depth. What is written quotes
every text that some reader of YAML could take for a number, a date or a truth value, such as 1e3.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

import yaml

_DEPTH_MAX = 24
_PLAIN = re.compile(r"[A-Za-z][A-Za-z0-9]*(?:[-./][A-Za-z0-9]+)*")
_WORDS = frozenset({"null", "true", "false", "yes", "no", "on", "off", "y", "n"})


def parse_small(text: str) -> Any:
    """The document; ValueError for anything but one small document without anchors or tags."""
    depth = 0
    try:
        for event in yaml.parse(text, Loader=yaml.SafeLoader):
            if getattr(event, "anchor", None) or getattr(event, "tag", None):
                raise ValueError("an anchor or a tag")
            if isinstance(event, yaml.CollectionStartEvent):
                depth += 1
            elif isinstance(event, yaml.CollectionEndEvent):
                depth -= 1
            if depth > _DEPTH_MAX:
                raise ValueError("too deep")
        return yaml.safe_load(text)
    except (yaml.YAMLError, RecursionError) as error:
        raise ValueError("not YAML") from error


class _Dumper(yaml.SafeDumper):  # type: ignore[misc]
    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002
        return True


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    style = '"'
    if _PLAIN.fullmatch(text) and text.lower() not in _WORDS:
        style = ""
    elif "\n" in text and all(c == "\n" or c.isprintable() for c in text):
        style = "|"
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style or None)


_Dumper.add_representer(str, _text)


def dumped(*documents: Any, comments: Iterable[str] = ()) -> str:
    """Keys in the order of the mappings. The comments come first, each on one line."""
    text: str = yaml.dump_all(
        documents,
        Dumper=_Dumper,
        sort_keys=False,
        allow_unicode=False,
        width=10_000,
        explicit_start=len(documents) > 1,
    )
    head = "".join(f"# {one_line(comment)}\n" for comment in comments)
    return head + text


def one_line(text: str) -> str:
    """Without anything that could end a comment or move a cursor."""
    return "".join(c if c.isprintable() else "?" for c in text)
