"""The generated pages are what the code makes of them now."""

from __future__ import annotations

import runpy


def test_the_generated_pages_are_up_to_date(root):
    generate = runpy.run_path(str(root / "docs" / "generate.py"))
    stale = [page.name for page, text in generate["pages"]().items() if page.read_text(encoding="utf-8") != text]
    assert not stale, f"{', '.join(stale)}: run `python docs/generate.py`"
