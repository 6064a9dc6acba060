"""Takes into the documentation site what pages link to outside of docs/, and turns those links.

The pages are written to be read in a checkout, where README.md and the schemas lie beside docs/. MkDocs
calls these functions (https://www.mkdocs.org/user-guide/configuration/#hooks).
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parents[1]
OUTSIDE = {
    "README.md": "project/about.md",
    "CONTRIBUTING.md": "project/contributing.md",
    "CHANGELOG.md": "project/changelog.md",
    "LICENSE": "project/LICENSE.txt",
    "constraints.txt": "project/constraints.txt",
    "Makefile": "project/Makefile.txt",
    **{f"schemas/{path.name}": f"schemas/{path.name}" for path in ROOT.glob("schemas/*.json")},
}
"""Where a file of the checkout is on the site."""

FETCHED = "https://unpkg.com/iframe-worker/shim"
"""What the theme's offline plugin asks for."""

LINK = re.compile(r"(\]\()(?![a-z]+:|#)([^)#\s]+)(#[^)\s]*)?(\))")


def on_files(files: Files, config: Any) -> Files:
    """Add the files from outside."""
    for path, uri in OUTSIDE.items():
        files.append(File.generated(config, uri, content=(ROOT / path).read_text(encoding="utf-8")))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Point each link to where its file is on the site."""
    here = page.file.src_uri
    source = {uri: path for path, uri in OUTSIDE.items()}.get(here, f"docs/{here}")

    def turned(match: re.Match[str]) -> str:
        path = posixpath.normpath(posixpath.join(posixpath.dirname(source), match[2]))
        uri = OUTSIDE.get(path, path.removeprefix("docs/"))
        return f"{match[1]}{posixpath.relpath(uri, posixpath.dirname(here) or '.')}{match[3] or ''}{match[4]}"

    return LINK.sub(turned, markdown).replace("```python-file", "```python")


def on_post_page(output: str, page: Any, **_: Any) -> str:
    """Have pages opened from the file system search with a script of the site's own, not one fetched from elsewhere."""
    here = posixpath.dirname(page.file.dest_uri) or "."
    return output.replace(FETCHED, posixpath.relpath("assets/search-from-files.js", here))


def on_post_template(output: str, **_: Any) -> str:
    """The same for the page that says that there is none."""
    return output.replace(FETCHED, "/assets/search-from-files.js")
