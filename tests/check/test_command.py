"""``psyctl dataset.check``: a line a check, JSON, exit codes, thresholds, and checks of others."""

from __future__ import annotations

import json
import sys

import pytest

from psyctl_core import Completion, OutputError, UsageError, check_dataset, open_dataset, testing
from psyctl_core._plugins.kinds import KINDS
from psyctl_core._plugins.registry import BrokenPlugin, discover
from psyctl_core.cli.app import make_app
from psyctl_core.components import API_VERSION
from psyctl_core.testing import FakeBackend, FakeSource

FAST = "power,order,length,openings"


@pytest.fixture
def typed(capsys):
    """Types ``psyctl dataset.check ...`` and gives the exit code and both outputs."""

    def run(*words: object) -> tuple[int, str, str]:
        code = make_app()(["dataset.check", *map(str, words)], standalone_mode=False)
        out, err = capsys.readouterr()
        return code or 0, out, err

    return run


@pytest.fixture
def file(tmp_path, clean):
    """A file of pairs without a fault, with the last ``lacking`` rows without a neutral side.

    What is changed is a column, with ``{}`` for the row's number.
    """

    def write(n: int = 100, lacking: int = 0, **changed: str):
        rows = [{"id": p.id, "trait": "Tidiness", "positive": p.positive, "negative": p.neutral} for p in clean(n)]
        for row in rows[n - lacking :]:
            row["negative"] = ""
        path = tmp_path / "pairs.jsonl"
        for number, row in enumerate(rows):
            row.update({name: text.format(number) for name, text in changed.items()})
        path.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")
        return path

    return write


def test_a_line_a_check_and_what_they_come_to(typed, file):
    path = file(100, lacking=10)
    code, out, _ = typed(path, "--only", FAST)
    lines = out.splitlines()
    assert code == 0
    assert lines[0] == f"Tidiness, {path}: 90 pairs"
    assert lines[1] == "Rows left out: 10 (no text under negative: 10)"
    assert lines[2] == "ok           power     90 pairs"
    assert lines[3].startswith("cannot tell  order     the file does not say")
    assert "(95 %: 0." in lines[4]
    assert lines[-1] == "4 checks: 3 ok, 0 look, 0 fail, 1 cannot tell"


def test_a_fault_is_exit_code_3_with_its_meaning_and_the_worst_pairs(typed, file):
    code, out, _ = typed(file(positive="So be\nit \x1b[2J {}" + "x" * 900), "--only", "openings,power", "--worst", 2)
    lines = out.splitlines()
    assert code == 3
    assert lines[2].startswith("fail         openings")
    assert lines[3].strip() == "The vector holds how answers begin: many of them begin alike."
    assert lines[4].startswith("             0-clean: positive: So be it \\x1b[2J")
    assert lines[4].endswith("…")
    assert len(lines[4]) == 80
    assert len(lines) == 7


def test_a_look_is_exit_code_3_only_if_told_to_be_strict(typed, file):
    assert typed(file(60), "--only", "power")[0] == 0
    assert typed(file(60), "--only", "power", "--strict")[0] == 3


def test_thresholds_are_typed_or_read_and_what_is_typed_counts(typed, file, tmp_path):
    assert typed(file(), "--only", "power", "--threshold", "power=300,200")[0] == 3
    limits = tmp_path / "limits.json"
    limits.write_text('{"power": [300, 200], "openings": [0.9, null]}')
    assert typed(file(), "--only", "power", "--thresholds", limits)[0] == 3
    assert typed(file(), "--only", "power", "--thresholds", limits, "--threshold", "power=3,2")[0] == 0
    assert "look" in typed(file(), "--only", "power", "--threshold", "power=9")[1]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--threshold", "lenght=1,2"], "no check named 'lenght'"),
        (["--threshold", "length"], "The thresholds '' of 'length' cannot be used"),
        (["--threshold", "length=a,b"], "The thresholds 'a,b' of 'length' cannot be used"),
        (["--threshold", "length=1,2,3"], "of 'length' cannot be used"),
        (["--threshold", "length=nan"], "of 'length' cannot be used"),
        (["--only", "lenght"], "There is no check named 'lenght'.\nDid you mean 'length'?"),
        (["--skip", "nothing"], "There is no check named 'nothing'"),
        (["--only", "length", "--skip", "length"], "No check is left to run"),
        (["--trait", "Openness"], "holds no dataset of Openness"),
        (["--thresholds", "nowhere.json"], "The thresholds in 'nowhere.json' cannot be read"),
    ],
)
def test_what_makes_no_sense_is_refused(typed, file, words, told):
    with pytest.raises(UsageError) as caught:
        typed(file(), *words)
    assert told in str(caught.value)


def test_a_thresholds_file_of_something_else_is_refused(typed, file, tmp_path):
    for text in ("[1]", '{"length": 3}', '{"length": [true, 2]}', "{"):
        (tmp_path / "limits.json").write_text(text)
        with pytest.raises(UsageError):
            typed(file(), "--thresholds", tmp_path / "limits.json")


def test_a_check_with_a_rule_of_its_own_says_that_thresholds_are_not_used(typed, run):
    run(limit_samples=12)
    output = next(iter(run(limit_samples=12).paths)).parent
    code, out, err = typed(output, "--only", "order", "--threshold", "order=0.1")
    assert "goes by a rule of its own" in err
    assert out.splitlines()[1].startswith("ok           order")
    assert code == 0


def test_json_is_one_document_that_reads_back(typed, file):
    code, out, _ = typed(file(positive="\ud800 so it is {}"), "--only", "openings,order", "--json", "--worst", 1)
    told = json.loads(out)
    (dataset,) = told["datasets"]
    assert code == 3
    assert told["failed"] is True
    assert (dataset["trait"], dataset["pairs"], dataset["left_out"]) == ("Tidiness", 100, {})
    order, openings = dataset["checks"]
    assert (order["name"], order["verdict"], order["value"]) == ("order", "cannot tell", None)
    assert (openings["verdict"], openings["value"], openings["look"], openings["fail"]) == ("fail", 1.0, 0.15, 0.4)
    assert openings["interval"][0] < 1
    assert [row["id"] for row in openings["worst"]] == ["0-clean"]


def test_a_run_is_read_through_its_sink_with_its_personas_one_heading_a_trait(run, typed):
    paths = run("Extroversion, Openness", limit_samples=12).paths
    code, out, _ = typed(paths[0].parents[1], "--only", "order,persona-echo,trait-words")
    headings = [line for line in out.splitlines() if line.endswith(": 12 pairs")]
    assert [line.partition(",")[0] for line in headings] == ["Extroversion", "Openness"]
    assert "cannot tell" not in out.replace("0 cannot tell", "")
    assert code in (0, 3)
    assert "Openness" not in typed(paths[0].parents[1], "--only", "order", "--trait", "extraversion")[1]


def test_a_dataset_without_its_run_folder_and_without_texts_is_read_by_its_question(run, typed, tmp_path):
    (path,) = run(limit_samples=12).paths
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    alone = tmp_path / "alone" / path.name
    alone.parent.mkdir()
    alone.write_text("".join(f"{json.dumps({k: r[k] for k in ('question', 'positive', 'neutral')})}\n" for r in rows))
    for output in (alone, alone.parent):
        assert "ok           order  the positive answer stands first in 6 of 12" in typed(output, "--only", "order")[1]


def test_thresholds_that_are_given_twice_are_refused(file, typed, tmp_path):
    given = tmp_path / "given.json"
    given.write_text('{"length": [0.1, 0.2], "length": [0.8, 0.9]}')
    with pytest.raises(UsageError, match=r"given.json' gives 'length' a second time"):
        typed(file(), "--thresholds", given)


def test_half_a_line_that_is_left_out_is_told(run, typed, psyctl):
    (path,) = run(limit_samples=12).paths
    path.write_bytes(path.read_bytes()[:-20])
    _, out, err = typed(path, "--only", "order")
    assert f"{path}: 11 pairs" in out
    assert f"{path} ends in half a line" in err
    assert f"{path} ends in half a line" in psyctl("dataset.show", str(path)).stderr


def test_a_run_that_came_to_no_pair_is_an_empty_dataset_and_no_missing_file(run, typed):
    refused = FakeBackend(answer=lambda request: Completion(request.id, "", "error", error="moderation"))
    done = run(limit_samples=2, source=FakeSource(3), backend=refused)
    folder = done.report.datasets[0].run_folder.parent
    with pytest.raises(UsageError, match="holds no pair"):
        typed(folder)
    assert list(open_dataset(folder)) == []


def test_a_run_that_names_no_sink_and_a_dataset_that_is_a_folder_are_told_with_a_way_out(run, typed):
    (path,) = run(limit_samples=2).paths
    run_file = path.with_suffix(".run") / "run.json"
    saved = json.loads(run_file.read_text(encoding="utf-8"))
    run_file.write_text(json.dumps({**saved, "identity": {}}), encoding="utf-8")
    with pytest.raises(OutputError, match=r"run.json: it does not say which sink wrote it\.\nRestore that file"):
        typed(path)
    run_file.write_text(json.dumps(saved), encoding="utf-8")
    path.unlink()
    path.mkdir()
    with pytest.raises(OutputError, match=r"cannot be read: .*\nGive a dataset"):
        typed(path.parent)


def test_a_dataset_of_no_pair_is_told_in_one_line(file):
    with pytest.raises(UsageError, match=r"holds no pair \(no text under negative: 20\)"):
        check_dataset(file(20, lacking=20))


def test_without_the_libraries_the_other_checks_run_and_one_line_says_what_to_install(typed, file, monkeypatch):
    for name in ("sklearn", "vaderSentiment.vaderSentiment"):
        monkeypatch.setitem(sys.modules, name, None)
    for name in ("classified", "sentiment"):
        monkeypatch.delitem(sys.modules, f"psyctl_check.{name}", raising=False)
    code, out, _ = typed(file())
    lines = out.splitlines()
    untold = [line.split()[2] for line in lines if line.startswith("cannot tell") and "not installed" in line]
    assert untold == ["bag-of-words", "function-words", "wrong-side", "sentiment"]
    assert lines[-1] == "Install them with: pip install 'psyctl[check]'"
    assert any(line.startswith("ok           openings") for line in lines)
    assert code == 0


PLUGIN = f"""
from psyctl_core import Check, hookimpl

@hookimpl
def psyctl_dataset_checks():
    return [Check({{name!r}}, "stranger:{{function}}", "A stranger's check", "It is strange.", 1, {{fail}},
                  api_version={API_VERSION})]
"""
STRANGER = """
from psyctl_core import Finding

def exclaiming(pairs, facts):
    loud = [pair for pair in pairs if "!" in pair.positive]
    return Finding(len(loud), f"{len(loud)} shout", worst=((pair.id, pair.positive) for pair in loud))

def broken(pairs, facts):
    return 1 / 0

def nothing(pairs, facts):
    return None

def nan(pairs, facts):
    return Finding(float("nan"), "x")

def odd(pairs, facts):
    return Finding(1.0, "x", verdict="bad")

def rows(pairs, facts):
    return Finding(1.0, "x", worst=["a"])

number = 7
"""


@pytest.fixture
def stranger(install, tmp_path, monkeypatch):
    """Installs a check of somebody else's."""

    def put(function: str = "exclaiming", name: str = "exclaiming", fail: object = 2, code: str = PLUGIN) -> None:
        install("psyctl-stranger", code.format(name=name, function=function, fail=fail))
        (tmp_path / "site" / "stranger.py").write_text(STRANGER)
        monkeypatch.delitem(sys.modules, "stranger", raising=False)

    return put


def test_a_strangers_check_runs_beside_the_others_and_takes_thresholds(stranger, typed, file):
    stranger()
    code, out, _ = typed(file(positive="Oh!"), "--only", "exclaiming,power", "--worst", 1)
    assert code == 3
    assert "fail         exclaiming  100 shout\n             It is strange.\n             0-clean: Oh!\n" in out
    assert typed(file(positive="Oh!"), "--only", "exclaiming", "--threshold", "exclaiming=100,200")[0] == 0


@pytest.mark.parametrize(
    ("function", "told"),
    [
        ("broken", "The check 'exclaiming' (from psyctl-stranger 1.0) failed: ZeroDivisionError"),
        ("nothing", "returned something unusable: a NoneType, not a Finding"),
        ("nan", "its value is nan, not a number"),
        ("odd", "its verdict is 'bad'"),
        ("rows", "among its worst pairs is 'a', not an id and a text"),
        ("number", "names a int as its factory"),
        ("absent", "failed: AttributeError"),
    ],
)
def test_a_broken_check_is_blamed_in_one_line_and_stops_no_other(stranger, typed, file, function, told):
    stranger(function)
    code, out, _ = typed(file(), "--only", "exclaiming,power")
    (line,) = [line for line in out.splitlines() if line.startswith("cannot tell")]
    assert told in line
    assert "psyctl-stranger 1.0" in line
    assert "ok           power" in out
    assert code == 0


def test_the_traceback_of_a_broken_check_is_shown_on_demand(stranger, typed, file):
    stranger("broken")
    assert "return 1 / 0" in typed(file(), "--only", "exclaiming", "--debug")[2]
    assert "Traceback" not in typed(file(), "--only", "exclaiming")[2]


def test_a_check_that_cannot_be_used_is_told_of_and_left_out(stranger, typed, file):
    stranger(code=PLUGIN.replace(f"api_version={API_VERSION}", "api_version=99"))
    told = "The check 'exclaiming' (from psyctl-stranger 1.0) is left out: it is made for plugin API 99"
    assert told in typed(file(), "--only", "power")[2]


def problems() -> dict[str, str]:
    return {entry.origin.name: entry.problem for entry in discover().entries if isinstance(entry, BrokenPlugin)}


def test_what_psyctl_checks_itself_nobody_else_does(stranger):
    stranger(name="length")
    assert problems() == {"length": "psyctl has a check of that name"}


def test_a_check_for_another_contract_or_with_odd_thresholds_is_listed_as_broken(stranger):
    stranger(code=PLUGIN.replace(f"api_version={API_VERSION}", "api_version=99"))
    assert "made for plugin API 99" in problems()["exclaiming"]


def test_a_check_with_odd_thresholds_is_listed_as_broken(stranger):
    stranger(fail="'high'".replace("'", '"'))
    assert "not numbers" in problems()["exclaiming"]


def test_something_else_than_a_check_is_listed_as_broken(install):
    install("psyctl-odd", "from psyctl_core import hookimpl\n@hookimpl\ndef psyctl_dataset_checks():\n    return [1]")
    assert problems() == {"psyctl-odd": "the hook psyctl_dataset_checks gave a int, not a Check"}


def test_plugins_list_and_check_know_checks(stranger, capsys):
    stranger()
    make_app()(["plugins.list", "--json"], standalone_mode=False)
    row = next(row for row in json.loads(capsys.readouterr().out) if row["name"] == "exclaiming")
    assert (row["kind"], row["summary"], row["problem"]) == ("check", "A stranger's check", "")
    make_app()(["plugins.check", "psyctl-stranger"], standalone_mode=False)
    told = capsys.readouterr().out
    assert "says of 40 pairs: 0 shout" in told
    assert "test its functions as any others" in told
    make_app()(["plugins.check", "jsonl"], standalone_mode=False)
    assert "test it with psyctl_core.testing: SinkContract." in capsys.readouterr().out


def test_plugins_check_names_a_contract_that_there_is_for_every_kind():
    assert {f"{kind.capitalize()}Contract" for kind in KINDS} <= set(testing.__all__)


def test_plugins_check_names_a_broken_check(stranger, capsys):
    stranger("broken")
    assert make_app()(["plugins.check", "psyctl-stranger"], standalone_mode=False) == 1
    assert "ZeroDivisionError" in capsys.readouterr().out


def test_the_api_gives_what_the_command_prints(file):
    (checkup,) = check_dataset(file(), only=["power", "length"], thresholds={"power": (200, 150)})
    assert [(result.check.name, result.verdict) for result in checkup.results] == [("power", "fail"), ("length", "ok")]
    assert checkup.count("fail") == 1
    with pytest.raises(UsageError):
        check_dataset(file(), thresholds={"x": (1, 2)})
