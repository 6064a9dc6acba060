"""Links within the repository lead somewhere, and every page can be reached."""

from __future__ import annotations

import re

LINK = re.compile(r"\]\((?!https?:)([^)#]*)(?:#([^)]+))?\)")


def anchors(text: str) -> set[str]:
    """The anchors that a Markdown file's headings get."""
    headings = re.findall(r"^#+ (.+)$", re.sub(r"^```.*?^```$", "", text, flags=re.M | re.S), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_links_resolve(page):
    for path, anchor in LINK.findall(page.text):
        target = page.path.parent / path if path else page.path
        assert target.exists(), path
        if anchor:
            assert anchor in anchors(target.read_text(encoding="utf-8")), f"{path}#{anchor}"


def test_every_page_is_linked_from_the_index_and_the_readme(root, read):
    for entrance in ("docs/index.md", "README.md"):
        page = read(entrance)
        linked = {(page.path.parent / path).resolve() for path, _ in LINK.findall(page.text) if path}
        assert not set(root.glob("docs/*/*.md")) - linked
