"""The card: what it says is so, it says nothing private, and no text of a data set does anything in it."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import hypothesis.strategies as st
import pytest
from huggingface_hub import DatasetCard, DatasetCardData
from hypothesis import example, given
from markdown_it import MarkdownIt

from psyctl_core import OutputError, UsageError, build_caa, check_dataset, merge_datasets, split_dataset
from psyctl_core.terminal import visible
from psyctl_core.testing import FakeBackend, FakePrompter, FakeSource
from psyctl_core.testing.fakes import fake_scenario
from psyctl_hub.card import card_of, metadata_of
from psyctl_hub.commands import card
from psyctl_hub.facts import read
from psyctl_hub.markdown import code, inline, quoted

HUB_RUN = {
    "identity": {
        "backend": {
            "component": {"name": "hf", "distribution": "psyctl"},
            "settings": {"dtype": "auto", "repetition_penalty": None},
            "own": {"model": "google/gemma-2-2b-it", "fingerprint": "a" * 40},
        },
        "source": {
            "component": {"name": "soda", "distribution": "psyctl"},
            "settings": {"split": "train", "config": "", "shape": "auto", "shuffle": True},
            "own": {"dataset": "allenai/soda", "revision": "b" * 40, "reading": 2, "shape": "soda"},
        },
        "prompter": {"component": {"name": "p2", "distribution": "psyctl"}, "settings": {}, "own": {"prompts": 1}},
        "judge": {
            "component": {"name": "rubric", "distribution": "psyctl"},
            "settings": {"positive": 50.0, "neutral": 45.0, "difference": 25.0, "fit": 50.0},
            "own": {"rubric": 1},
        },
        "personas": {"contrast": "opposite"},
        "sampling": {"max_tokens": 48, "temperature": 0.7, "seed": 3},
    },
    "settings": {
        "personality": "Openness", "limit_samples": 6, "max_tokens": 48, "temperature": 0.7, "seed": 3,
        "personas": {"contrast": "opposite"},
        "backend": {
            "component": "psyctl:hf",
            "settings": {"model": "google/gemma-2-2b-it", "batch_size": 8, "dtype": "auto", "repetition_penalty": None},
        },
        "source": {"component": "psyctl:soda", "settings": {"dataset": "allenai/soda", "split": "train"}},
        "prompter": {"component": "psyctl:p2", "settings": {}},
        "judge": {"component": "psyctl:rubric", "settings": {"positive": 50.0}},
    },
    "guides": {"Openness": "9: asks.\n5: listens.\n0: leaves."},
    "statistics": {
        "rejected": {"identical": 2, "the sides do not differ": 3},
        "skipped": {"too few turns": 41},
        "scores": {"positive": {"pairs": 11, "mean": 61.5}},
    },
}  # fmt: skip
"""A run with everything from the Hub, as run.json has it."""

HOSTILE = (
    "---\nlicense: mit\n---",
    "```\n# Owned\n```",
    "````",
    "# A heading",
    "<script>alert(1)</script><img src=x onerror=alert(1)>",
    "a | b | c\n| --- |",
    "[link](https://example.com) ![image](https://example.com/x.png) https://example.com",
    "$x$ @somebody :smile: *bold* _it_ ~~no~~ `code` &lt;b&gt; \\",
    "- item\n1. item\n> quote\n===\n    code",
    "{{ 7 * 7 }} {% raw %}",
    "\x1b[31mred\u202eturned\u2028line\x00",
    "null",
)
MARKDOWN = MarkdownIt("gfm-like", {"linkify": False})


@pytest.fixture
def carded(dataset, tmp_path):
    """The card of a dataset with these records and this run."""

    def make(traits: str = "Openness", **options) -> DatasetCard:
        repo, licence = options.pop("repo", "me/x"), options.pop("licence", "")
        found, _ = read(dataset(traits, **options))
        return DatasetCard(card_of(found, repo, licence))

    return make


def section(text: str, title: str) -> str:
    """What stands under a heading."""
    return re.split(r"^#{2,3} ", text.split(f"{title}\n", 1)[1], maxsplit=1, flags=re.MULTILINE)[0]


def rows(text: str) -> dict[str, str]:
    """The rows of tables with two columns."""
    return dict(re.findall(r"^\| ([^|]*?) \| (.*?) \|$", text, re.MULTILINE))


def test_the_metadata_are_those_of_the_hubs_own_classes(carded):
    found = carded("Openness, Neuroticism", licence="cc-by-4.0", **HUB_RUN)
    assert isinstance(found.data, DatasetCardData)
    assert found.data.to_dict() == {
        "license": "cc-by-4.0",
        "pretty_name": "Neuroticism, Openness: contrastive pairs",
        "annotations_creators": ["machine-generated"],
        "language_creators": ["machine-generated"],
        "size_categories": ["n<1K"],
        "source_datasets": ["allenai/soda"],
        "tags": ["psyctl", "contrastive-activation-addition", "activation-steering", "personality"],
        "configs": [
            {"config_name": name, "data_files": [{"split": "train", "path": f"data/{name.lower()}.jsonl"}]}
            for name in ("Neuroticism", "Openness")
        ],
    }


def test_no_licence_is_among_the_metadata_where_none_is_given(carded):
    assert "license" not in carded().data.to_dict()


def test_what_made_it_is_told(carded):
    text = carded(**HUB_RUN).text
    made = rows(section(text, "## How it was made"))
    assert made["model"] == f"google/gemma-2-2b-it, commit {'a' * 40}"
    assert made["source of the scenes"] == f"allenai/soda, commit {'b' * 40}"
    assert made["read by"] == "soda of psyctl (split train, shape auto, shuffle true)"
    assert made["sampling"] == "max tokens 48, temperature 0.7, seed 3"
    assert made["personas described by"] == "p2 of psyctl; compared with somebody opposite"
    judge = section(text, "### Openness: judge")
    assert rows(judge)["thresholds"] == "positive 50.0, neutral 45.0, difference 25.0, fit 50.0"
    assert rows(judge)["score positive"] == "pairs 11, mean 61.5"
    assert "> 9: asks.\\\n> 5: listens.\\\n> 0: leaves." in judge
    accepted = rows(section(text, "### Openness: what was accepted"))
    assert accepted["pairs accepted"] == "6"
    assert accepted["scenes rejected: the sides do not differ"] == "3"
    assert accepted["rows skipped: too few turns"] == "41"
    assert "CC-BY-4.0, as its page says" in section(text, "## Licences")
    assert "arxiv.org/abs/2206.07550" in text
    assert "arxiv.org/abs/2212.10465" in text


def test_personas_stand_in_full_and_pairs_as_they_are(carded, dataset):
    found, _ = read(dataset(pairs=7))
    text = carded(pairs=7).text
    for persona in found[0].run["personas"].values():
        assert f"> {inline(persona['description'])}\n" in text
    pairs = section(text, "### Openness: pairs from it")
    assert re.findall(r"^Pair (\S+)\. Scene", pairs, re.MULTILINE) == [found[0].records[i].id for i in (0, 3, 6)]
    assert quoted(found[0].records[3].positive_text) in pairs
    assert quoted(found[0].records[3].situation) in pairs


def test_one_pair_is_shown_once(carded, record):
    text = carded(records=[record(0)]).text
    assert section(text, "### Openness: pairs from it").count("Scene, in which") == 1


def test_the_findings_are_those_of_the_doctor(carded, dataset):
    (checkup,) = check_dataset(dataset(pairs=12))
    text = section(carded(pairs=12).text, "### Openness: checks")
    found = [line.split(" | ") for line in text.splitlines() if line.startswith("| ")][2:]
    assert [(row[0][2:], row[1]) for row in found] == [(r.check.name, r.verdict) for r in checkup.results]
    assert f"{checkup.count('ok')} of the checks are ok" in text


def test_what_a_person_said_is_told(carded, record):
    records = [record(number) for number in range(4)]
    text = carded(records=records, labels={"id-0": "right", "id-1": "wrong", "id-2": "right"}).text
    assert rows(section(text, "### Openness: judge"))["Labelled"] == "3: 2 right, 1 wrong, 0 unclear"
    assert "No person labelled pairs." in carded(records=records).text


def test_the_licence_is_the_users_and_the_sources_is_known_or_not(carded):
    licences = section(carded(licence="cc-by-4.0").text, "## Licences")
    assert "- This dataset: cc-by-4.0.\n" in licences
    assert "- The scenes: not known to psyctl: look it up for FakeSource.\n" in licences
    assert "- This dataset: none is stated: ask who published" in section(carded().text, "## Licences")


def test_the_command_asks_for_the_same_again(carded):
    command = re.search(r"```bash\n(.*?)```", carded(**HUB_RUN).text, re.DOTALL)[1]
    words = command.replace("\\\n", "").split()
    assert words[:2] == ["psyctl", "dataset.build.caa"]
    assert " ".join(words[2:]) == (
        f"--output dataset --personality Openness --source soda --soda-dataset allenai/soda@{'b' * 40} "
        "--soda-split train --soda-shape auto --soda-shuffle --prompter p2 "
        f"--backend hf --hf-model google/gemma-2-2b-it@{'a' * 40} --hf-dtype auto --judge rubric "
        "--rubric-positive 50.0 --rubric-neutral 45.0 --rubric-difference 25.0 --rubric-fit 50.0 "
        "--limit-samples 6 --seed 3 --temperature 0.7 --max-tokens 48 --contrast opposite"
    )


def test_psyctl_understands_the_command(carded, monkeypatch):
    from typer.main import get_command

    from psyctl_core.cli.app import make_app

    command = re.search(r"```bash\n(.*?)```", carded(**HUB_RUN).text, re.DOTALL)[1]
    _, name, *words = command.replace("\\\n", "").split()
    get_command(make_app()).commands[name].make_context(name, words)


def test_given_personas_stand_there_as_a_file(carded, tmp_path):
    report = build_caa(
        "Openness", tmp_path / "given", source=FakeSource(4), prompter=FakePrompter(), backend=FakeBackend(),
        positive="{character} asks what is behind every door.", neutral="{character} is calm.",
    )  # fmt: skip
    found, _ = read(report.datasets[0].run_folder.parent)
    text = card_of(found, "me/x", "")
    given = json.loads(re.search(r"```json\n(.*?)```", text, re.DOTALL)[1])
    assert given == {
        "Openness": {"positive": ["{character} asks what is behind every door."]},
        "neutral": ["{character} is calm."],
    }
    assert "--persona-file personas.json" in text
    assert "was handed over in Python, and is no plugin's." in text


def test_a_dataset_that_was_judged_again_goes_back_to_the_run_that_made_it(dataset, tmp_path):
    folder = dataset(**{**HUB_RUN, "statistics": {"rejected": {"identical": 9}}})
    (made,) = folder.glob("*.run/run.json")
    run = json.loads(made.read_text(encoding="utf-8"))
    recorded = {"component": {"name": "recorded", "distribution": "psyctl_core._engine.rejudging"}, "settings": {}}
    own = {"dataset": run["name"], "digest": "12ab"}
    run["name"] = "caa_dataset_20990101_000000"
    run["identity"] |= {
        "source": {**recorded, "own": own}, "backend": {**recorded, "own": {}},
        "judge": {
            "component": {"name": "rubric", "distribution": "psyctl_core._engine.rejudging"},
            "settings": {}, "own": {"judge": {"rubric": 1}, "settings": {"positive": 70.0}},
        },
    }  # fmt: skip
    for kind in ("source", "prompter", "backend"):
        run["settings"][kind] = {"component": "recorded", "settings": {}}
    run["settings"]["judge"] = {"component": "rubric", "settings": {}}
    run["settings"]["limit_samples"] = None
    run["statistics"] |= {"accepted": 6, "rejected": {"the sides do not differ": 4}, "skipped": {}}
    (folder / f"{run['name']}.run").mkdir()
    (folder / f"{run['name']}.run" / "run.json").write_text(json.dumps(run), encoding="utf-8")
    (pairs,) = folder.glob("*.jsonl")
    (folder / f"{run['name']}.jsonl").write_bytes(pairs.read_bytes())
    (facts,), notes = read(folder)
    assert notes == []
    text = card_of([facts], "me/x", "")
    made_by = rows(section(text, "## How it was made"))
    assert made_by["model"] == f"google/gemma-2-2b-it, commit {'a' * 40}"
    assert made_by["source of the scenes"] == f"allenai/soda, commit {'b' * 40}"
    assert rows(section(text, "### Openness: judge"))["thresholds"] == "positive 70.0"
    accepted = rows(section(text, "### Openness: what was accepted"))
    assert accepted["scenes rejected: identical"] == "9"
    assert accepted["judged again: pairs rejected: the sides do not differ"] == "4"
    assert "psyctl dataset.judge dataset \\\n    --judge rubric \\\n    --rubric-positive 70.0\n" in text
    assert "psyctl dataset.build.caa --output dataset" in text
    assert "CC-BY-4.0" in text
    for path in [made, made.parent, pairs]:  # what made the pairs is not there any more
        path.rename(tmp_path / f"gone-{path.name}")
    (facts,), _ = read(folder)
    text = card_of([facts], "me/x", "")
    assert "the `run.json` of the run that made the pairs was not there" in text
    assert "What made Openness is not known." in text
    assert "gemma" not in text
    assert "CC-BY-4.0" not in text


def test_a_run_json_that_says_hardly_anything_gives_a_card_that_says_so(dataset, tmp_path):
    folder = dataset()
    (file,) = folder.glob("*.run/run.json")
    run = json.loads(file.read_text(encoding="utf-8"))
    sink = run["identity"]["sink"]
    file.write_text(json.dumps({**run, "identity": {"sink": sink}, "settings": {}, "personas": {}}), encoding="utf-8")
    (facts,), _ = read(folder)
    text = card_of([facts], "me/x", "")
    assert rows(section(text, "## How it was made"))["model"] == "not known: the backend does not name it"
    assert "run.json does not say how it was asked for." in text
    assert "Not known." in section(text, "### Openness: personas")


def test_a_damaged_run_json_is_to_be_restored_and_no_plugin_to_be_installed(dataset):
    folder = dataset()
    next(folder.glob("*.run/run.json")).write_text("{")
    with pytest.raises(OutputError, match="cannot be read") as caught:
        read(folder)
    assert "Restore that file" in caught.value.hint


PRIVATE = {
    "identity": {
        "backend": {
            "settings": {"base_url": "http://user:geheim@10.0.0.7:8000/v1?key=1", "api_token": "letmein"},
            "own": {"model": "/home/annabel/my models/tiny.gguf", "fingerprint": "12ab"},
        },
        "source": {"own": {"dataset": "C:\\Users\\annabel\\chats.jsonl", "files": "34cd"}},
        "sink": {"settings": {"address": "postgres://annabel:geheim@db.example.com/x"}},
    },
    "settings": {
        "backend": {"component": "psyctl:openai", "settings": {"model": "/home/annabel/my models/tiny.gguf"}},
        "source": {"component": "psyctl:soda", "settings": {"dataset": "~/chats.jsonl"}},
        "sink": {"component": "psyctl:jsonl", "settings": {"address": "postgres://annabel:geheim@db.example.com/x"}},
    },
    "statistics": {"rejected": {"not in /home/annabel/list.txt": 1}, "skipped": {"see file:///home/annabel/x": 1}},
}


def test_nothing_of_the_machine_gets_into_the_card(carded, tmp_path):
    found = str(carded(**PRIVATE))
    for private in ("annabel", "geheim", "10.0.0.7", "letmein", "postgres", "key=1", str(tmp_path), "/home", "Users"):
        assert private not in found, private
    made = rows(section(found, "## How it was made"))
    assert made["model"] == "tiny.gguf, digest 12ab"
    assert made["source of the scenes"] == "chats.jsonl, digest 34cd"
    assert "--soda-dataset chats.jsonl" in found
    assert "Of files and addresses of the machine that made it only the last part stands here." in found


@pytest.mark.parametrize("text", HOSTILE)
def test_no_text_does_anything_in_the_card(carded, record, text):
    plain = carded(records=[record(0)])
    line = " ".join(text.split("\n"))
    found = carded(
        records=[record(0, positive_text=line, situation=text, character=line, id=line)],
        personas={"positive": {"description": text, "keywords": [text]}},
        statistics={"rejected": {text: 1}},
        settings={"personality": text},
        versions={"x": text},
    )
    assert found.data.to_dict() == plain.data.to_dict()
    assert elements(found.text) == elements(plain.text)


def elements(text: str) -> list[str]:
    """The kinds of elements that a Markdown text becomes, but for plain text and the ends of its lines."""
    tokens = MARKDOWN.parse(text)
    kinds = [kind for token in tokens for kind in (token.type, *(inner.type for inner in token.children or ()))]
    return [kind for kind in kinds if kind not in ("text", "softbreak", "hardbreak")]


@pytest.mark.parametrize("trait", ["null", "on: off", 'Half "open" <b>', "開放性", "1e3", "```x", "a/b\\c", "- # x"])
def test_a_trait_of_any_name_is_a_config_that_is_read_back(carded, record, trait):
    found = carded(records=[record(0, trait=trait)], trait=trait)
    (config,) = found.data.to_dict()["configs"]
    assert isinstance(config["config_name"], str)
    assert not re.search(r'[<>:/\\|?*"]', config["config_name"])
    assert re.fullmatch(r"data/[a-z0-9-]+\.jsonl", config["data_files"][0]["path"])
    assert DatasetCard(str(found)).content == found.content


@given(st.text(st.characters(exclude_categories=["Cs"])))
@example("```")
@example("0. x")
@example("a\\")
@example("--- ")
@example("&amp;")
def test_a_text_in_a_line_is_read_as_it_is(text):
    (_, content, *_) = MARKDOWN.parse(f"x {inline(text)}")
    assert [token.type for token in content.children] == ["text"]
    assert content.children[0].content == f"x {' '.join(visible(text).split())}".rstrip()


@given(st.text(st.characters(exclude_categories=["Cs"])))
@example("# a\n---\n```\n<b>")
@example("    code\n\n- x")
def test_a_quotation_holds_nothing_but_text(text):
    tokens = MARKDOWN.parse(f"before\n\n{quoted(text)}\n\nafter")
    kinds = [token.type for token in tokens]
    inner = [child.type for token in tokens for child in token.children or ()]
    assert set(kinds) <= {"paragraph_open", "inline", "paragraph_close", "blockquote_open", "blockquote_close"}
    assert kinds.count("blockquote_open") == 1
    assert set(inner) <= {"text", "hardbreak", "softbreak"}


@given(st.text(st.characters(exclude_categories=["Cs"])))
@example("```\n````")
@example("~~~")
def test_code_stays_within_its_fence(text):
    fences = MARKDOWN.parse(f"{code(text)}\n\nafter")
    assert [token.type for token in fences] == ["fence", "paragraph_open", "inline", "paragraph_close"]


def test_the_card_goes_into_the_folder_or_where_it_is_told_to(dataset, tmp_path, capsys):
    folder = dataset()
    capsys.readouterr()
    card(folder)
    out, err = capsys.readouterr()
    assert out == f"Wrote {folder / 'README.md'}: Openness, 6 pairs.\n"
    assert err == ""
    card(folder, tmp_path / "card.md")
    assert (tmp_path / "card.md").read_bytes() == (folder / "README.md").read_bytes()
    assert 'load_dataset("USER/NAME", "Openness", split="train")' in (tmp_path / "card.md").read_text(encoding="utf-8")


def test_a_file_with_other_content_is_kept_unless_it_shall_be_replaced(dataset):
    folder = dataset()
    (folder / "README.md").write_text("Mine.", encoding="utf-8")
    with pytest.raises(UsageError, match="has other content") as error:
        card(folder)
    assert "--replace" in error.value.hint
    assert (folder / "README.md").read_text(encoding="utf-8") == "Mine."
    card(folder, replace=True)
    before = (folder / "README.md").read_bytes()
    card(folder)
    assert (folder / "README.md").read_bytes() == before


def test_no_access_is_one_line_and_nothing_half_written(dataset, tmp_path):
    folder = dataset()
    with pytest.raises(OutputError, match=r"Cannot write .*nowhere.card\.md"):
        card(folder, tmp_path / "nowhere" / "card.md")
    (tmp_path / "taken").mkdir()
    with pytest.raises(OutputError, match="Cannot write"):
        card(folder, tmp_path / "taken")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data", "taken"]


def test_an_unfinished_run_gets_a_card_that_says_so(dataset):
    folder = dataset(status="running")
    card(folder)
    assert "**not finished**: it was going on or was killed" in (folder / "README.md").read_text(encoding="utf-8")


def test_the_sizes_are_the_hubs_words(dataset):
    (facts,), _ = read(dataset())
    assert metadata_of([facts] * 200, "").size_categories == ["1K<n<10K"]


STRANGER = (Path(__file__).parents[1] / "report" / "test_command.py").read_text(encoding="utf-8")


def test_a_strangers_sink_is_published_as_any_other(install, tmp_path):
    install("psyctl-pickles", re.search(r'STRANGER = """(.*?)"""', STRANGER, re.DOTALL)[1])
    folder = tmp_path / "out"
    build_caa(
        "Openness", folder, source=FakeSource(12), prompter=FakePrompter(), backend=FakeBackend(), sink="pickles"
    )  # fmt: skip
    (facts,), notes = read(folder)
    assert notes == []
    assert len(facts.lines().splitlines()) == 12
    assert "| Openness | 12 | 6 times | finished |" in card_of([facts], "me/x", "")


def test_parts_and_merged_datasets_go_back_to_the_runs_that_made_their_pairs(tmp_path):
    for name, seed in (("a", 1), ("b", 2)):

        def make(n: int, name: str = name):
            return replace(fake_scenario(n), id=f"{name}{n}", situation=f"{name}{n}")

        build_caa(
            personality="Openness", output=tmp_path / name, limit_samples=8, seed=seed,
            source=FakeSource(12, make=make), prompter=FakePrompter(), backend=FakeBackend(),
        )  # fmt: skip
    split_dataset(tmp_path / "a", tmp_path / "parts", {"train": None, "test": 2})
    merge_datasets([tmp_path / "parts" / "train", tmp_path / "b"], tmp_path / "both")
    (part,), _ = read(tmp_path / "parts" / "test")
    text = card_of([part], "me/x", "")
    assert "split: 2 pairs of" in section(text, "Openness: what was accepted")
    assert rows(section(text, "Openness: what was accepted"))["pairs accepted"] == "8"
    (both,), _ = read(tmp_path / "both")
    text = card_of([both], "me/x", "")
    assert "seed 1; or " in rows(section(text, "How it was made"))["sampling"]
    accepted = section(text, "Openness: what was accepted")
    assert accepted.count("pairs accepted") == 2
    assert (accepted.index("split: 6 pairs") < accepted.index("merge: 6 pairs")) is True
