"""YAML documents as trees that know their lines, within bounds: a manifest may be hostile.

PyYAML's parser (libyaml's where there is one) gives the events. The tree shares what an alias
names, and says its size with every alias counted, so that a bomb is refused before it is walked.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from gotax import extras
from gotax.errors import ParseError

MAX_BYTES = 32 << 20
_MAX_EVENTS = 1_000_000
_MAX_DEPTH = 100
_MAX_NODES = 4_000_000
"""Of a document, with every alias counted as what it names."""


@dataclass(slots=True)
class Node:
    """``line`` counts from 1. A scalar has ``text``, others ``items`` or ``pairs``."""

    line: int
    kind: str  # scalar, sequence, mapping
    text: str = ""
    is_plain: bool = False  # a scalar without quotes
    items: list[Node] = field(default_factory=list)
    pairs: dict[str, Node] = field(default_factory=dict)
    nodes: int = 1

    def get(self, *path: str) -> Node | None:
        """The node under these keys, None where there is none."""
        found: Node | None = self
        for key in path:
            found = found.pairs.get(key) if found is not None else None
        return None if found is None or found.is_null else found

    @property
    def is_null(self) -> bool:
        return self.kind == "scalar" and self.is_plain and self.text in _NULLS

    def string(self, *path: str) -> str:
        """The text of the scalar under these keys, "" where there is none."""
        found = self.get(*path)
        return found.text if found is not None and found.kind == "scalar" else ""

    def sequence(self, *path: str) -> list[Node]:
        found = self.get(*path)
        return found.items if found is not None else []


_NULLS = frozenset({"", "~", "null", "Null", "NULL"})


def parse_documents(data: bytes) -> Iterator[Node]:
    """Raises ParseError ``yaml-malformed`` or ``yaml-too-large``; its ``line`` is in the text."""
    if len(data) > MAX_BYTES:
        raise ParseError("yaml-too-large", f"{len(data)} bytes")
    with extras.needed_by("reading manifests", "lint"):
        import yaml
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        yield from _Builder().documents(yaml.parse(data, Loader=loader))
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = f"line {mark.line + 1}: " if mark is not None else ""
        raise ParseError("yaml-malformed", f"{line}{error.problem}") from error
    except (yaml.YAMLError, UnicodeError) as error:
        raise ParseError("yaml-malformed", str(error).replace("\n", " ")) from error


class _Builder:
    def __init__(self) -> None:
        self._events = 0
        self._anchors: dict[str, Node] = {}
        self._stack: list[tuple[Node, str | None]] = []  # with the key that waits for its value

    def documents(self, events: Any) -> Iterator[Node]:
        root: Node | None = None
        for event in events:
            self._events += 1
            if self._events > _MAX_EVENTS:
                raise ParseError("yaml-too-large", f"over {_MAX_EVENTS} nodes")
            match type(event).__name__:
                case "DocumentStartEvent":
                    root, self._stack = None, []
                    self._anchors.clear()
                case "DocumentEndEvent":
                    if root is not None and not root.is_null:
                        yield root
                case "ScalarEvent":
                    plain = event.style is None and event.tag != "!!str"
                    node = Node(_line(event), "scalar", event.value, plain)
                    root = self._put(node, event.anchor) or root
                case "SequenceStartEvent" | "MappingStartEvent" as name:
                    kind = "mapping" if name.startswith("Mapping") else "sequence"
                    node = Node(_line(event), kind)
                    if event.anchor is not None:
                        self._anchors[event.anchor] = node
                    self._stack.append((node, None))
                    if len(self._stack) > _MAX_DEPTH:
                        raise ParseError("yaml-too-large", f"over {_MAX_DEPTH} levels")
                case "SequenceEndEvent" | "MappingEndEvent":
                    node, _ = self._stack.pop()
                    root = self._put(node, None) or root
                case "AliasEvent":
                    self._put(self._alias(event), None)
                case _:
                    pass

    def _alias(self, event: Any) -> Node:
        node = self._anchors.get(event.anchor)
        if node is None:
            raise ParseError("yaml-malformed", f"line {_line(event)}: no anchor {event.anchor}")
        if any(node is each for each, _ in self._stack):
            raise ParseError("yaml-malformed", f"line {_line(event)}: an alias to what holds it")
        return node

    def _put(self, node: Node, anchor: str | None) -> Node | None:
        """Into what holds it; returns it if nothing does."""
        if anchor is not None:
            self._anchors[anchor] = node
        if not self._stack:
            return node
        parent, key = self._stack[-1]
        parent.nodes += node.nodes
        if parent.nodes > _MAX_NODES:
            raise ParseError("yaml-too-large", f"over {_MAX_NODES} nodes with aliases")
        if parent.kind == "sequence":
            parent.items.append(node)
        elif key is None:
            if node.kind != "scalar":  # also what a template of Helm begins with, {{
                raise ParseError("yaml-malformed", f"line {node.line}: a key that is no text")
            self._stack[-1] = (parent, node.text)
        else:
            self._stack[-1] = (parent, None)
            if key == "<<":
                for each in node.items if node.kind == "sequence" else [node]:
                    for name, value in each.pairs.items():
                        parent.pairs.setdefault(name, value)
            else:
                parent.pairs[key] = node
        return None


def _line(event: Any) -> int:
    return int(event.start_mark.line) + 1
