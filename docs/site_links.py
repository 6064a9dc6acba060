"""Makes pages that are written for a checkout into pages of the documentation site.

In a checkout README.md and the schemas lie beside docs/: they are taken in, and links to them turned. Docstrings keep
their roles for who reads the code, and tables get what they need to be read on a phone. MkDocs calls these functions
(https://www.mkdocs.org/user-guide/configuration/#hooks).
"""

from __future__ import annotations

import html
import os
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
    "CITATION.cff": "project/CITATION.cff.txt",
    "constraints.txt": "project/constraints.txt",
    "Makefile": "project/Makefile.txt",
    **{f"schemas/{path.name}": f"schemas/{path.name}" for path in ROOT.glob("schemas/*.json")},
}
"""Where a file of the checkout is on the site."""

FETCHED = "https://unpkg.com/iframe-worker/shim"
"""What the theme's offline plugin asks for."""

PICTURE = re.compile(r'((?:src|srcset)=")docs/')
ROLE = re.compile(r":(?:class|func|meth|mod|data|attr|exc):<code>(?:~(?:\w+\.)*)?([^<]+)</code>")
"""A Sphinx role around a name, of which ``~`` hides the modules."""

TABLE = re.compile(r"<table>.*?</table>", re.DOTALL)
SEARCH = 'data-md-component="search" role="dialog"'
COLAB = "https://colab.research.google.com/github/"
REPOSITORY = os.environ.get("GITHUB_REPOSITORY", "")
"""``OWNER/NAME``, where the site is built by a workflow. The pages themselves do not know where they are kept."""

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

    markdown = PICTURE.sub(
        lambda match: match[1] + posixpath.relpath(".", posixpath.dirname(here) or ".") + "/", markdown
    )
    if REPOSITORY:
        markdown = markdown.replace(f"({COLAB})", f"({COLAB}{REPOSITORY}/blob/main/docs/tutorial/notebook.ipynb)")
    return LINK.sub(turned, markdown).replace("```python-file", "```python")


def on_page_content(output: str, **_: Any) -> str:
    """Show a docstring's roles as the names they are about, and have each cell say what its column is."""
    return TABLE.sub(lambda match: labelled(match[0]), ROLE.sub(r"<code>\1</code>", output))


def labelled(table: str) -> str:
    """A table whose cells carry their columns' names, for site.css to show where a phone has no room for columns."""
    heads = [
        html.unescape(re.sub("<[^>]+>", "", head)) for head in re.findall(r"<th[^>]*>(.*?)</th>", table, re.DOTALL)
    ]
    if len(heads) < 3:
        return table
    head, _, body = table.partition("<tbody>")
    rows = body.split("</tr>")
    for at, row in enumerate(rows):
        names = iter(heads)
        rows[at] = re.sub("<td", lambda _, names=names: f'<td data-column="{html.escape(next(names))}"', row)
    return head + "<tbody>" + "</tr>".join(rows)


def on_post_page(output: str, page: Any, **_: Any) -> str:
    """Name the theme's search, and have it run in pages opened from the file system by a script of the site's own."""
    here = posixpath.dirname(page.file.dest_uri) or "."
    output = output.replace(SEARCH, f'{SEARCH} aria-label="Search"')
    return output.replace(FETCHED, posixpath.relpath("assets/search-from-files.js", here))


def on_post_template(output: str, **_: Any) -> str:
    """The same for the page that says that there is none."""
    return output.replace(FETCHED, "/assets/search-from-files.js")
