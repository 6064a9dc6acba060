"""Writes what the pages say about commands, options, schemas and shapes of data, and what they quote, from the code.

Run ``python docs/generate.py`` after changing one of them. Only the text between a pair of markers is
replaced; what stands around them is written by hand.
"""

from __future__ import annotations

import dataclasses
import inspect
import operator
import re
import textwrap
import typing
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from psyctl_check import CHECKS
from psyctl_core import api, budget, checks, components, errors, options, records, schema, testing
from psyctl_core._plugins.flags import COMMANDS_OF_THE_CORE, Flag, flags_of
from psyctl_core._plugins.kinds import KINDS
from psyctl_core._plugins.registry import Registered, discover, load
from psyctl_core.cli.app import make_app
from psyctl_soda.shapes import SHAPES

DOCS = Path(__file__).resolve().parent
REGION = re.compile(r"(<!-- generated: (?P<name>[\w.-]+) -->\n).*?(<!-- end -->)", re.DOTALL)
QUOTE = re.compile(
    r"(<!-- quoted: (?P<module>[\w.]+):(?P<name>[\w.]+) -->\n\n```py\n).*?(^```$)", re.DOTALL | re.MULTILINE
)
NOTES = re.compile(r" ?\((?:default: (?P<default>[^;)]+))?(?:; )?(?:env: (?P<env>\w+))?\)")
VALUES = {str: "text", int: "whole number", float: "number", Path: "path", bool: "none"}
LIMITS = {
    "minimum": "at least {}",
    "minLength": "at least {} character",
    "maxLength": "at most {} characters",
    "pattern": "matches `{}`",
}
DISTRIBUTION = "psyctl"
"""Whose components are documented here; what else is installed has documentation of its own."""

BUILDING = (
    "BuildConfig", "Selection", "Sampling", "PersonaChoice", "Progress", "build", "plan", "open_dataset",
    "stored_datasets", "check_dataset", "check_records", "export_dataset", "split_dataset", "merge_datasets",
    "scores_of", "read_recipe", "recipe_of",
)  # fmt: skip
RECORDS = ("Scenario", "Turn", "SkippedRow", "Persona", "Message", "ChatRequest", "Completion", "CaaRecord")
CHECKING = ("Check", "CheckedPair", "CheckFacts", "Finding")
CONTRACT = (
    "Component", "Command", "Context", "SinkTarget", "Checkpoint", "Inspection", "Estimate", "ExportTarget", "Exported",
    "BackendState", "RunnerTarget",
)  # fmt: skip

OWN_RULE = ("order",)
"""Checks that do not go by thresholds."""

OPTION_HEAD = ("Option", "Value", "Default", "Environment", "What it does")
FIELD_HEAD = ("Field", "Type", "Required", "What it is")


@dataclasses.dataclass(frozen=True)
class Option:
    """One row of a table of options."""

    spelling: str
    value: str
    default: str
    env: str
    text: str
    group: str = "Options"

    def row(self) -> tuple[str, ...]:
        default = code(self.default) if self.default and " " not in self.default else self.default
        return code(self.spelling), self.value, default, code(self.env) if self.env else "", self.text


def pages() -> dict[Path, str]:
    """Each generated page with the text it should have."""
    regions = {
        "explanation/architecture.md": {},
        "reference/cli.md": command_line(),
        "reference/schemas.md": schemas(),
        "reference/api.md": {"signatures": signatures()},
        **{f"reference/plugins/{name}.md": {"components": text} for name, text in plugin_texts().items()},
        "reference/plugins/psyctl_check.md": {"checks": check_table()},
        "how-to/own-data.md": {"shapes": table(("Shape", "What it is"), [(code(s.NAME), s.SUMMARY) for s in SHAPES])},
    }
    return {DOCS / name: filled(DOCS / name, texts) for name, texts in regions.items()}


def filled(page: Path, texts: Mapping[str, str]) -> str:
    """The page with every region and every quotation replaced."""
    text = page.read_text(encoding="utf-8")
    unmatched = set(texts) ^ {match["name"] for match in REGION.finditer(text)}
    if unmatched:
        raise SystemExit(f"{page.name}: regions and texts do not match for {', '.join(sorted(unmatched))}")
    text = REGION.sub(lambda match: f"{match[1]}\n{texts[match['name']]}\n\n{match[3]}", text)
    return QUOTE.sub(lambda match: f"{match[1]}{source(match['module'], match['name'])}{match[4]}", text)


def source(module: str, name: str) -> str:
    """The source of a function or class, with what it is inside of left out."""
    return textwrap.dedent(inspect.getsource(operator.attrgetter(name)(import_module(module))))


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    cells = ([" ".join(cell.replace("|", "\\|").split()) for cell in line] for line in lines)
    return "\n".join(f"| {' | '.join(line)} |" for line in cells)


def code(value: object) -> str:
    return f"`{value}`"


# The command line


def command_line() -> dict[str, str]:
    """The regions of cli.md: the commands, the components' options, and the variables."""
    app = make_app()
    commands = {str(command.name): command.callback for command in app.registered_commands}
    callbacks = {name: callback for name, callback in commands.items() if name in COMMANDS_OF_THE_CORE and callback}
    callbacks |= {
        found.command.name: load(found.command.factory, found.origin)
        for found in discover().commands()
        if found.origin.distribution == DISTRIBUTION
    }
    flags = {flag.spelling for registered in discover().usable() for flag in flags_of(registered.component)}
    theirs = flags | {f"--judge-{spelling[2:]}" for spelling in flags}  # a judge's backend has them once more
    own = {name: list(typed(callback)) for name, callback in callbacks.items()}
    for name in own.keys() & COMMANDS_OF_THE_CORE:
        # One option may happen to be spelled as a component's, as dataset.check's --model is.
        if len({option.spelling for option in own[name]} & theirs) > 1:
            own[name] = [option for option in own[name] if option.spelling not in theirs]
    of_a_job = {option.spelling for option in own["dataset.build.caa"]} - {"--debug", "--help-all"}
    own["recipe.show"] = [option for option in own["recipe.show"] if option.spelling not in of_a_job]
    every = [o for rows in [*own.values(), *map(component_options, ours())] for o in rows]
    variables = dict.fromkeys((code(option.env), code(option.spelling)) for option in every if option.env)
    sections = [
        f"### psyctl {name}\n\n{inspect.getdoc(callbacks[name])}\n\n{command_text(options)}"
        for name, options in own.items()
    ]
    return {
        "commands": "\n\n".join(sections),
        "components": "\n\n".join(component_text(registered) for registered in ours()),
        "variables": table(("Variable", "Stands in for"), list(variables)),
    }


def ours() -> list[Registered]:
    """The components of this distribution, kind by kind."""
    return [found for kind in KINDS for found in discover().usable(kind) if found.origin.distribution == DISTRIBUTION]


def command_text(rows: list[Option]) -> str:
    """Tables of options, one for each group that ``--help`` shows."""
    if not rows:
        return "It has no options."
    groups = {row.group: [o.row() for o in rows if o.group == row.group] for row in rows}
    title = "**{}**\n\n" if len(groups) > 1 else ""
    return "\n\n".join(title.format(group) + table(OPTION_HEAD, rows) for group, rows in groups.items())


def typed(callback: Callable[..., Any]) -> Iterator[Option]:
    """A command's parameters, as typer is told about them."""
    for parameter in inspect.signature(callback, eval_str=True).parameters.values():
        hint, info = typing.get_args(parameter.annotation)
        # What was declared first stands in `default`: typer moves it only when it builds the command.
        declared = [d for d in (info.default, *(info.param_decls or ())) if str(d).startswith("--")]
        spelling = (declared or [f"--{parameter.name.replace('_', '-')}"])[0].partition("/")[0]
        if type(info).__name__ == "ArgumentInfo":
            spelling = parameter.name.upper()
        text, default, env = without_notes(info.help)
        if parameter.default is inspect.Parameter.empty:
            default = "none, required"
        elif parameter.default is True:
            default, text = "on", f"{text.rstrip('.')}. `--no-{spelling[2:]}` turns it off."
        elif parameter.default is not None and parameter.default is not False:
            default = str(parameter.default)
        yield Option(spelling, value_of(hint), default, env, text, info.rich_help_panel or "Options")


def component_options(found: Registered) -> Iterator[Option]:
    """The options that a component's config fields become, each under its shortest spelling."""
    declared = {field.name: field for field in dataclasses.fields(found.component.config)}
    for flag in flags_of(found.component):
        field = declared[flag.field]
        default = field.metadata.get("default", field.default)
        if isinstance(default, bool):
            default = "on" if default else "off"
        if default is None or default is dataclasses.MISSING:
            default = ""
        text = without_notes(flag.help)[0].rstrip(".") + "."
        if not flag.hidden:
            env = field.metadata.get("env", "")
            yield Option(flag.spelling, value_of(flag.type), str(default), env, text + other_spelling(found, flag))


def other_spelling(found: Registered, flag: Flag) -> str:
    if flag.short:
        return f" Also spelled `--{found.origin.name}-{flag.field.replace('_', '-')}`."
    return f" `--no-{flag.spelling[2:]}` turns it off." if flag.type is bool else ""


def plugin_texts() -> dict[str, str]:
    """What each built-in plugin offers, by the name of its package."""
    texts: dict[str, list[str]] = {}
    for found in ours():
        package = found.component.factory.partition(":")[0].partition(".")[0]
        texts.setdefault(package, []).append(component_text(found))
    return {package: "\n\n".join(parts) for package, parts in texts.items()}


def component_text(found: Registered) -> str:
    """A component's section: what it is, how it is chosen, and its options."""
    component, origin = found.component, found.origin
    text = f"### The {origin.kind} `{origin.name}`\n\n{component.summary}."
    if component.extra:
        text += f" Needs `pip install '{origin.distribution}[{component.extra}]'`."
    implied = [f.spelling for f in flags_of(component) if f.field in component.implied_by and not f.hidden]
    if implied:
        text += f" Typing {' or '.join(map(code, implied))} chooses it without `--{origin.kind} {origin.name}`."
    return f"{text}\n\n{command_text(list(component_options(found)))}"


def check_table() -> str:
    """The built-in checks with their thresholds."""
    rows = [
        (
            code(check.name),
            check.summary,
            *limits_of(check),
            code(check.extra) if check.extra else "",
            check.meaning,
        )
        for check in CHECKS
    ]
    return table(("Check", "What it looks at", "Look", "Fail", "Extra", "What it does to a vector"), rows)


def limits_of(check: checks.Check) -> tuple[str, str]:
    """From where on it says look, and fail."""
    if check.name in OWN_RULE:
        return "its own rule", "its own rule"
    if check.fail is None:
        return f"above {check.look:g}", "never"
    where = "below" if check.fail < check.look else "above"
    return f"{where} {check.look:g}", f"{where} {check.fail:g}"


def without_notes(text: str) -> tuple[str, str, str]:
    """A help text without its notes, and the default and the environment variable that they name."""
    for notes in NOTES.finditer(text):
        if notes["default"] or notes["env"]:
            return text.replace(notes[0], ""), notes["default"] or "", notes["env"] or ""
    return text, "", ""


def value_of(hint: Any) -> str:
    """What kind of value is typed for a type."""
    members = [member for member in typing.get_args(hint) if member is not type(None)]
    if typing.get_origin(hint) is typing.Literal:
        return ", ".join(map(code, members))
    return value_of(members[0]) if members else VALUES[hint]


# The Python interface


def signatures() -> str:
    """How each record, part of the contract and fake is made, for who reads in a checkout."""
    groups = {
        "Building": [getattr(api, name) for name in BUILDING],
        "Records": [getattr(records, name) for name in RECORDS],
        "Checks": [getattr(checks, name) for name in CHECKING],
        "The contract": [*(getattr(components, name) for name in CONTRACT), budget.Budget, options.option],
        "Errors": [errors.PsyctlError],
        "For tests": [getattr(testing, name) for name in testing.__all__ if not name.endswith("Contract")],
    }
    made = {
        group: "\n".join(f"{item.__name__}{plain_signature(item)}" for item in items) for group, items in groups.items()
    }
    return "\n\n".join(f"{group}:\n\n```text\n{lines}\n```" for group, lines in made.items())


class Raw:
    """Shown as it is."""

    def __init__(self, text: str) -> None:
        self.text = text

    def __repr__(self) -> str:
        return self.text


def plain_signature(item: Any) -> str:
    """A signature without quotation marks around types, without defaults that are functions, and without the result."""
    signature = inspect.signature(item)
    shown = []
    for parameter in signature.parameters.values():
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            continue  # a class without an __init__ of its own
        default = Raw("...") if callable(parameter.default) else parameter.default
        default = parameter.default if parameter.default is parameter.empty else default
        shown.append(parameter.replace(annotation=Raw(str(parameter.annotation)), default=default))
    text = str(signature.replace(parameters=shown, return_annotation=signature.empty))
    return text.replace("<factory>", "...")


# The schemas


def schemas() -> dict[str, str]:
    """The regions of schemas.md, one for each schema."""
    return {name: schema_text(schema.load(name), schema.path(name).name) for name in schema.VERSIONS}


def schema_text(contents: Mapping[str, Any], file: str) -> str:
    closed = contents.get("additionalProperties") is False
    return (
        f"{contents['description']}\n\n"
        f"File: [`{file}`](../../schemas/{file}). Identifier: `{contents['$id']}`. "
        f"Other fields: {'refused' if closed else 'allowed'}.\n\n{table(FIELD_HEAD, list(fields(contents)))}"
    )


def fields(contents: Mapping[str, Any], where: str = "") -> Iterator[tuple[str, ...]]:
    """A row for each field, then what lies inside it; ``*`` stands for any name and ``[]`` for any element."""
    for name, inner in contents.get("properties", {}).items():
        needed = "yes" if name in contents.get("required", ()) else "no"
        yield code(where + name), type_of(inner), needed, inner.get("description", "")
        yield from fields(inner, f"{where}{name}.")
        yield from fields(inner.get("items", {}), f"{where}{name}[].")
        yield from fields(inner.get("additionalProperties", {}), f"{where}{name}.*.")
    for name, inner in contents.get("$defs", {}).items():
        yield code(name), type_of(inner), "", inner["description"]
        yield from fields(inner, f"{name}.")
        yield (
            code(f"{name}.*"),
            type_of(inner["additionalProperties"]),
            "no",
            inner["additionalProperties"]["description"],
        )


def type_of(contents: Mapping[str, Any]) -> str:
    """A type with its limits, in words."""
    if "const" in contents:
        return f"always {code(contents['const'])}"
    if "enum" in contents:
        return " or ".join(map(code, contents["enum"]))
    if "$ref" in contents:
        return f"a {contents['$ref'].rpartition('/')[2]}"
    kinds = contents["type"]
    words = kinds if isinstance(kinds, str) else " or ".join(kinds)
    inner = contents.get("items") or contents.get("additionalProperties")
    if inner and isinstance(inner["type"], str):
        words += f" of {inner['type']}s"
    return ", ".join([words, *(text.format(contents[key]) for key, text in LIMITS.items() if key in contents)])


if __name__ == "__main__":
    for page, text in pages().items():
        page.write_text(text, encoding="utf-8", newline="\n")
        print(f"wrote {page}")
