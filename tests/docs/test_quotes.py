"""What the documentation quotes from the code is what the code says."""

from __future__ import annotations

import ast
import importlib.util
import inspect
import json
import re
import textwrap
from pathlib import Path

import pytest

import psyctl_core
from psyctl_core import components, hookspecs, schema
from psyctl_core._caa.traits import BIG_FIVE, DARK_TRIAD, MAX_LENGTH, SYNONYMS

ARCHITECTURE = "docs/explanation/architecture.md"
QUOTE = re.compile(r"<!-- quoted: ([\w.]+):([\w.]+) -->\n\n```py\n(.*?)^```$", re.DOTALL | re.MULTILINE)
KINDS_OF_JSON = {"question": "caa-record", "resume": "checkpoint", "identity": "run"}


def test_signatures(page):
    for _, text in page.blocks("pyi"):
        for node in ast.parse(text).body:
            if isinstance(node, ast.ClassDef):
                protocol = getattr(components, node.name)
                own = {name for name, value in vars(protocol).items() if inspect.isfunction(value)}
                quoted = {inner.name: inner for inner in node.body if isinstance(inner, ast.FunctionDef)}
                assert {name for name in own if not name.startswith("_")} == set(quoted)
                for name, function in quoted.items():
                    assert written(function) == actual(getattr(protocol, name))
            else:
                owner = hookspecs if hasattr(hookspecs, node.name) else psyctl_core
                assert written(node) == actual(getattr(owner, node.name))


def test_what_a_plan_is_not_asked_is_named(read):
    build, plan = (set(inspect.signature(each).parameters) for each in (psyctl_core.build_caa, psyctl_core.plan_caa))
    sentence = re.search(
        r"`plan_caa` takes the same arguments, except for (.*?)\.", read("docs/how-to/python-api.md").text
    )
    assert set(re.findall(r"`(\w+)`", sentence[1])) == build - plan
    assert plan <= build


def written(function: ast.FunctionDef) -> str:
    return plain(f"({ast.unparse(function.args)}) -> {ast.unparse(function.returns)}")


def actual(function) -> str:
    return plain(str(inspect.signature(function)))


def plain(signature: str) -> str:
    """Without blanks and without the quotation marks around annotations and defaults."""
    return re.sub(r"[\s'\"]", "", signature)


def test_every_module_and_plugin_is_named(root, read):
    page = read(ARCHITECTURE)
    core = root / "psyctl_core"
    paths = (path.relative_to(core).with_suffix("") for path in core.rglob("*.py") if len(body(path)) > 1)
    modules = {".".join(path.parts).removesuffix(".__init__") for path in paths}
    assert set(page.cells("Module")) == {f"`{name}`" for name in modules}
    plugins = {path.parent.name for path in root.glob("plugins/*/__init__.py")}
    assert set(page.cells("Package")) == {f"`{name}`" for name in plugins}


def body(path: Path) -> list[ast.stmt]:
    """A module's statements; a room's ``__init__`` has its docstring alone."""
    return ast.parse(path.read_text(encoding="utf-8")).body


def test_quoted_code_is_the_code(page):
    """What stands under ``<!-- quoted: MODULE:NAME -->`` is that function, read from its file."""
    marks = page.text.count("<!-- quoted: ")
    quotes = QUOTE.findall(page.text)
    assert len(quotes) == marks, "a mark without a block"
    for module, name, text in quotes:
        path = Path(str(importlib.util.find_spec(module).origin))
        assert text == textwrap.dedent(definition(path, name.split("."))), f"{name}: run `python docs/generate.py`"


def definition(path: Path, names: list[str]) -> str:
    """The lines of a function, or of one within a class, as the file has them."""
    inside: list[ast.stmt] = body(path)
    for name in names:
        (found,) = (node for node in inside if getattr(node, "name", "") == name)
        inside = found.body
    first = min([found.lineno, *(decorator.lineno for decorator in found.decorator_list)])
    return "".join(path.read_text(encoding="utf-8").splitlines(keepends=True)[first - 1 : found.end_lineno])


def test_the_heart_is_quoted(read):
    quoted = {(module.rpartition(".")[2], name) for module, name, _ in QUOTE.findall(read(ARCHITECTURE).text)}
    assert {("contrast", "contrast"), ("answering", "Answerer.answers"), ("work", "Work._generate")} <= quoted


@pytest.mark.parametrize("head", ["Message", "Reason"])
def test_messages_and_reasons_are_those_of_the_code(page, head, texts_in_code):
    for cell in page.cells(head):
        for part in cell.strip("`").split("…"):
            assert any(part in text for text in texts_in_code), f"'{part}' of {cell}"


def test_environment_variables_are_those_of_the_code(page, texts_in_code):
    for name in re.findall(r"\b(?:PSYCTL|OPENROUTER|OPENAI)_[A-Z_]+", page.text):
        assert any(name in text for text in texts_in_code), name


def test_json_examples_hold_to_their_schemas(page):
    for _, text in page.blocks("json"):
        example = json.loads(text)
        for key, name in KINDS_OF_JSON.items():
            if key in example:
                assert schema.problem(name, example) == ""


def test_record_fields_are_explained_in_order(read):
    explained = [cell.strip("`") for cell in read("docs/reference/output-format.md").cells("Field")]
    assert explained[:10] == list(psyctl_core.CaaRecord.__dataclass_fields__)


def test_traits(read):
    text = read("docs/reference/traits.md").text
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line[:1] == "|"][2:]
    groups = dict.fromkeys(BIG_FIVE, "Big Five") | dict.fromkeys(DARK_TRIAD, "Dark Triad")
    assert {name: group for name, group, _ in rows} == groups
    assert {other.lower(): name for name, _, others in rows for other in others.split(", ")} == SYNONYMS
    assert f"at most {MAX_LENGTH} characters" in text


def test_the_changelog_has_this_version(read):
    import importlib_metadata

    assert f"## [{importlib_metadata.version('psyctl')}]" in read("CHANGELOG.md").text
