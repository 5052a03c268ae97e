"""Write the page of the codes from docs/findings.md: ``make codes``.

The collector serves it at /codes; a finding on its pages links to its code there. The text is that
of the documentation. A test compares both.
"""

from __future__ import annotations

import itertools
import re
from pathlib import Path

from markdown_it import MarkdownIt
from markdown_it.token import Token

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "docs" / "findings.md"
PAGE = ROOT / "collector" / "gotax_collector" / "http" / "templates" / "codes_text.html"
_CODE = re.compile(r"(GT\d{3})(?:[: ]|$)")


def rendered(text: str) -> str:
    """The sections "Codes" and "Causes", for a template. Links to other files are left out."""
    sections = re.split(r"(?m)^(?=## )", text)
    chosen = "".join(part for part in sections if part.startswith(("## Codes", "## Causes")))
    parser = MarkdownIt("commonmark").enable("table")
    tokens = parser.parse(chosen)
    for heading, content in itertools.pairwise(tokens):
        if heading.type == "heading_open" and (code := _CODE.match(content.content)):
            heading.attrSet("id", code[1])
        elif heading.type == "heading_open":
            heading.attrSet("id", content.content.lower())
    for token in tokens:
        if token.children:
            token.children = list(_with_links_of_the_page(token.children))
        if token.type in ("th_open", "td_open"):
            token.attrSet("class", "l wrap")
    body = str(parser.renderer.render(tokens, parser.options, {}))
    return "{% raw %}\n" + body + "{% endraw %}\n"


def _with_links_of_the_page(children: list[Token]) -> list[Token]:
    found, is_left_out = [], False
    for token in children:
        if token.type == "link_open":
            target = str(token.attrGet("href"))
            is_left_out = not target.startswith("#")
            if is_left_out:
                continue
            if code := re.match(r"#(gt\d{3})\b", target):
                token.attrSet("href", f"#{code[1].upper()}")
        elif token.type == "link_close" and is_left_out:
            is_left_out = False
            continue
        found.append(token)
    return found


if __name__ == "__main__":
    PAGE.write_text(rendered(SOURCE.read_text()))
