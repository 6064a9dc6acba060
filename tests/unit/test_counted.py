"""Numbers of things are written in one way: no message says ``1 pairs``."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from psyctl_core.figures import counted

ROOT = Path(__file__).parents[2]
NOUNS = (
    "answer|block|byte|cell|character|check|choice|control|dataset|data set|description|file|item|label|layer|line|"
    "minute|model|pair|path|persona|processor|prompt|question|record|request|retrie|row|sample|scenario|scene|server|"
    "thing|time|token|trait|value|weight|worker"
)
BY_HAND = re.compile(rf"(?<!/)\x00 (?:new |weight |other |different )?(?:{NOUNS})s\b")
"""A placeholder before a plural; a share such as ``3/5 pairs`` is none."""


def _placed(part: ast.FormattedValue) -> str:
    """A placeholder that may hold 1 as NUL; a constant, a measured value and a text as a word."""
    value, spec = ast.unparse(part.value), part.format_spec
    last = value.split(".")[-1]
    is_measured = spec is not None and re.search(r"[gf]'", ast.unparse(spec))
    is_text = last in TEXTS or (isinstance(part.value, ast.Call) and not re.match(r"(len|sum|number)\(", value))
    return "N" if is_measured or is_text or last.isupper() else "\x00"


TEXTS = ("where", "side", "name", "_name", "character", "base_url", "url", "location", "proxy")
"""What such names stand for is no number: a verb follows."""


def texts(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Each text of a module with its line, docstrings left out and placeholders as NUL."""
    parts: set[int] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr):
            parts.add(id(node.value))
        elif isinstance(node, ast.JoinedStr):
            parts |= {id(each) for each in node.values}
            yield (
                node.lineno,
                "".join(
                    _placed(each) if isinstance(each, ast.FormattedValue) else str(each.value) for each in node.values
                ),
            )
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in parts:
            yield node.lineno, re.sub(r"%[ds]", "\x00", node.value)


@pytest.mark.parametrize("folder", ["psyctl_core", "plugins"])
def test_no_message_writes_a_plural_by_hand(folder):
    found = [
        f"{path.relative_to(ROOT)}:{line}: {text[:90]!r}"
        for path in sorted((ROOT / folder).rglob("*.py"))
        if path.name != "contracts.py"
        for line, text in texts(ast.parse(path.read_text(encoding="utf-8")))
        if BY_HAND.search(text)
    ]
    assert not found, "psyctl_core.figures.counted writes these:\n" + "\n".join(found)


def test_nothing_hangs_an_s_on_by_itself():
    by_itself = re.compile(r"""["']s["'] (\*|if )| else ["']s["']""")
    found = {
        path.name
        for folder in ("psyctl_core", "plugins")
        for path in sorted((ROOT / folder).rglob("*.py"))
        if by_itself.search(path.read_text(encoding="utf-8"))
    }
    assert found == {"figures.py", "cluster.py"}, "the second one counts processors, of which there may be half a one"


def test_the_search_finds_them():
    tree = ast.parse('f"{n} pairs"; print("%d requests"); f"{a}/{n} pairs"; f"{MOST} rows"; f"{x:.1f} tokens"')
    tree.body[0] = ast.Assign([ast.Name("a", ast.Store())], tree.body[0].value)  # an expression alone is a docstring
    assert [text for _, text in texts(tree) if BY_HAND.search(text)] == ["\x00 pairs", "\x00 requests"]


def test_one_is_no_plural():
    assert [counted(n, "pair") for n in (0, 1, 2, 1_000)] == ["0 pairs", "1 pair", "2 pairs", "1,000 pairs"]
