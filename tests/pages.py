"""What holds for each page that we write: it is whole, and fetches nothing."""

import re
from html.parser import HTMLParser
from typing import Any

VOID = {"meta", "line", "rect", "circle", "br"}


class Balanced(HTMLParser):
    """Raises where an element is closed that is not open."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag


def assert_whole(html: str) -> None:
    """Every element is closed, nothing is fetched, nothing runs."""
    reader = Balanced()
    reader.feed(html)
    assert reader.open == []
    assert not re.search(r"https?://|<script|@import|src=", html)
