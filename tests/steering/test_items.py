"""What an effect is measured on: the questionnaire, statements in files, and what is wrong with files."""

from __future__ import annotations

import json
import re
from collections import Counter

import pytest

torch = pytest.importorskip("torch", reason="the extra 'hf' is not installed")

from psyctl_core import SourceError, UsageError, schema  # noqa: E402
from psyctl_steering import items  # noqa: E402


def test_the_questionnaire_has_its_120_items_with_their_keys():
    rows = items.ipip()
    assert len({row["text"] for row in rows}) == 120
    assert Counter(row["domain"] for row in rows) == dict.fromkeys("OCEAN", 24)
    assert {row["key"] for row in rows} == {1, -1}


@pytest.mark.parametrize("name", ["Extroversion", "extraversion", "EXTRAVERSION", " Extraversion "])
def test_both_spellings_of_extroversion_mean_one_factor(name):
    statements, answers = items.questionnaire(name)
    assert len(statements) == len(answers) == 24
    signs = dict(zip(statements.labels, statements.signs, strict=True))
    assert signs["I make friends easily."] == 1
    assert signs["I avoid crowds."] == -1


def test_the_schema_names_each_set_of_items():
    part = schema.load("steering")["properties"]["sets"]["items"]["properties"]["name"]
    found = [*items.shipped("Openness"), *items.questionnaire("Openness"), items.pairs([])]
    for each in found:
        assert each.name in re.split(r",? ", part["description"].partition(", or")[0]), each.name


def test_an_opposites_items_are_turned_round():
    (one, _), (other, _) = items.questionnaire("Extroversion"), items.questionnaire("Introversion")
    assert one.labels == other.labels
    assert one.signs == tuple(-sign for sign in other.signs)


WORDS = re.compile(r"[a-z']+")


def shipped_rows(trait):
    return [row for row in items._shipped() if row["trait"] == trait]


@pytest.mark.parametrize("trait", items.TRAITS)
def test_a_traits_statements_are_half_of_the_opposite_and_alike_in_length(trait):
    rows = shipped_rows(trait)
    lengths = {
        side: [len(row["statement"].split()) for row in rows if row["matches_trait"] is side] for side in (True, False)
    }
    assert len(lengths[True]) == len(lengths[False]) == 50
    assert all(4 <= length <= 14 for side in lengths.values() for length in side)
    assert abs(sum(lengths[True]) - sum(lengths[False])) / 50 <= 0.5
    assert all(
        first["matches_trait"] is not second["matches_trait"]
        for first, second in zip(rows[::2], rows[1::2], strict=True)
    )


def test_no_statement_is_there_twice_and_each_is_a_sentence():
    texts = [row["statement"] for row in items._shipped()]
    assert len({" ".join(WORDS.findall(text.lower())) for text in texts}) == len(texts) == 800
    assert all(text.endswith(".") and text == text.strip() and text[0].isupper() for text in texts)
    assert {row["trait"] for row in items._shipped()} == set(items.TRAITS)


def test_no_statement_is_one_of_the_questionnaire():
    assert not too_near([row["text"] for row in items.ipip()])


def test_no_statement_is_one_of_the_model_written_evals(shared_data):
    for file in shared_data.glob("mwe_*.jsonl"):
        assert not too_near([json.loads(line)["statement"] for line in file.read_text(encoding="utf-8").splitlines()])


def too_near(others):
    """The shipped statements that have more than 7 in 10 words in common with one of these."""
    known = [set(WORDS.findall(text.lower())) - {"i"} for text in others]
    return [
        (row["statement"], sorted(other))
        for row in items._shipped()
        for words in [set(WORDS.findall(row["statement"].lower())) - {"i"}]
        for other in known
        if len(words & other) > 0.7 * len(words | other)
    ]


def test_the_shipped_statements_of_a_name_and_of_its_opposite_are_the_same_turned_round():
    (one,), (other,) = items.shipped(" extraversion "), items.shipped("Introversion")
    assert one.name == "statements"
    assert one.labels == other.labels
    assert one.signs == tuple(-sign for sign in other.signs)
    assert items.shipped("Sarcasm") == []


def test_the_dark_triad_is_not_in_it():
    assert items.questionnaire("Machiavellianism") == []


def test_an_answer_is_wanted_token_by_token_and_steered_from_the_end_of_the_question(lent):
    (text,) = items.answered(lent, "Who are you?", ["I am Kim."])
    (other,) = items.answered(lent, "What do you want to do today?", ["I am Kim."])
    assert [t[0] for t in text.wanted] == [t[0] for t in other.wanted]
    assert len(text.ids) - text.start == len(other.ids) - other.start  # what the template writes, and the answer
    assert text.ids[-1] == text.wanted[-2][0]  # the last token is predicted, not read


def test_reversed_answers_count_the_other_way(lent):
    (answers,) = [each for each in items.questionnaire("Neuroticism") if each.name == "ipip-answers"]
    sure = torch.tensor([[[0.0, -50, -50, -50, -50]]])  # always the first answer
    middle = answers.value([sure, sure])
    assert middle.tolist() == [[3.0]]  # an order's preference cancels
    last = sure.flip(-1)
    assert answers.value([sure, last]).tolist() == [[5.0]]
    assert answers.mass([sure - 1, last - 1]) == pytest.approx(0.3679, abs=1e-3)


SIDES = ("I like parties", "I hate them")
FILES = {
    "own.jsonl": '{{"statement": "{}", "matches_trait": true}}\n{{"statement": "{}", "matches_trait": false}}\n',
    "evals.jsonl": '{{"statement": "{}", "answer_matching_behavior": " Yes"}}\n'
    '{{"statement": "{}", "answer_matching_behavior": " No"}}\n',
    "list.json": '[{{"statement": "{}", "matches_trait": 1}}, {{"statement": "{}", "matches_trait": 0}}]',
    "table.csv": "statement,matches_trait\n{},true\n{},false\n",
}


@pytest.mark.parametrize("name", FILES)
def test_statements_are_read_from_files(tmp_path, name):
    (tmp_path / name).write_text(FILES[name].format(*SIDES), encoding="utf-8")
    found = items.read_statements(str(tmp_path / name))
    assert found == [items.Statement("I like parties", 1), items.Statement("I hate them", -1)]


WRONG = {
    "no statement": '{"text": "I like parties", "matches_trait": true}',
    "no side": '{"statement": "I like parties"}',
    "odd side": '{"statement": "I like parties", "matches_trait": "maybe"}',
    "one side": '{"statement": "I like parties", "matches_trait": true}',
    "no json": "I like parties",
    "empty": "",
    "a number": "3",
}


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_file_is_told_in_a_line_with_its_name(tmp_path, case):
    file = tmp_path / "wrong.jsonl"
    file.write_text(WRONG[case], encoding="utf-8")
    with pytest.raises(UsageError) as told:
        items.read_statements(str(file))
    assert "wrong.jsonl" in told.value.message
    assert "statement" in told.value.hint


def test_a_file_that_is_not_there_is_told():
    with pytest.raises(UsageError, match="There is no file 'nowhere"):
        items.read_statements("nowhere.jsonl")


def test_some_statements_are_as_many_of_each_side():
    every = [items.Statement(str(n), 1 if n % 4 else -1) for n in range(80)]
    some = items.some_of(every, 20)
    assert Counter(each.sign for each in some) == {1: 10, -1: 10}
    assert items.some_of(every, 1000) == sorted(every, key=lambda each: -each.sign)


def test_a_part_of_a_set_has_the_parts_texts(lent):
    (statements, answers) = items.questionnaire("Openness")
    for whole in (statements, answers):
        part = whole.some([3, 5])
        texts = [text for group in part.write(lent, "") for text in group]
        every = [text for group in whole.write(lent, "") for text in group]
        each = len(every) // 24
        assert texts == [*every[3 * each : 4 * each], *every[5 * each : 6 * each]]


@pytest.mark.parametrize("name", ["extraversion", "neuroticism", "machiavellianism"])
def test_real_statements_are_read(name, shared_data):
    found = items.read_statements(str(shared_data / f"mwe_{name}.jsonl"))
    rows = [json.loads(line) for line in (shared_data / f"mwe_{name}.jsonl").read_text(encoding="utf-8").splitlines()]
    assert len(found) == len({row["statement"] for row in rows})
    assert {each.sign for each in found} == {1, -1}


def test_a_data_set_on_the_hub_is_read_by_its_name_and_file(tmp_path, monkeypatch):
    (tmp_path / "e.jsonl").write_text(FILES["evals.jsonl"].format(*SIDES), encoding="utf-8")
    asked = []

    def download(repository, file, repo_type):
        asked.append((repository, file, repo_type))
        return str(tmp_path / "e.jsonl")

    monkeypatch.setattr("huggingface_hub.hf_hub_download", download)
    assert len(items.read_statements("Anthropic/model-written-evals:persona/extraversion.jsonl")) == 2
    assert asked == [("Anthropic/model-written-evals", "persona/extraversion.jsonl", "dataset")]

    monkeypatch.setattr(
        "huggingface_hub.HfApi.list_repo_files", lambda self, name, repo_type: ["README.md", "a.jsonl", "b.jsonl"]
    )
    with pytest.raises(UsageError, match="has 2 files that could hold statements") as told:
        items.read_statements("some/where")
    assert told.value.hint == "Name one: some/where:a.jsonl"


def test_a_hub_that_cannot_be_reached_is_told_in_a_line(monkeypatch):
    def download(*given, **more):
        raise OSError("no route to host\nmore")

    monkeypatch.setattr("huggingface_hub.hf_hub_download", download)
    with pytest.raises(SourceError) as told:
        items.read_statements("some/where:a.jsonl")
    assert told.value.message == "The statements 'some/where:a.jsonl' cannot be had from the Hub: no route to host."
