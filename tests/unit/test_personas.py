"""Who answers: personas that are given, several of them, and what the trait is compared with."""

from __future__ import annotations

import json
import logging
import re
from unittest.mock import Mock

import pytest
from hypothesis import given as examples
from hypothesis import strategies as st

from psyctl_core import Context, UsageError, open_dataset, plan_caa
from psyctl_core._caa.given import PersonaChoice, given, read_persona_file
from psyctl_core._caa.traits import KNOWN, parse_traits
from psyctl_core.cli.app import make_app
from psyctl_core.records import NEUTRAL
from psyctl_core.testing import FakeBackend, FakePrompter, FakeSource
from psyctl_core.testing.fakes import fake_answer
from psyctl_p2.checks import flaw
from psyctl_static import StaticConfig
from psyctl_static.prompter import StaticPrompter

LOUD, PLAIN = "{character} sings at the top of the voice.", "{character} hums now and then."


def users(backend) -> list[str]:
    return [request.messages[-1].content for request in backend.asked]


def run_file(out) -> dict:
    (path,) = out.rglob("run.json")
    return json.loads(path.read_text(encoding="utf-8"))


def test_given_personas_answer_and_nobody_is_described(run, tmp_path):
    done = run("Sarcasm", positive=LOUD, neutral=PLAIN, prompter="p2", limit_samples=2)
    assert done.report.datasets[0].pairs == 2
    assert len(done.backend.asked) == 4
    assert all(("Kim sings" in text) != ("Kim hums" in text) for text in users(done.backend))
    assert run_file(tmp_path)["personas"]["positive"]["description"] == LOUD


def test_other_personas_are_another_dataset_and_the_same_ones_go_on(run):
    run(positive=LOUD, neutral=PLAIN, limit_samples=2)
    again = run(positive=LOUD, neutral=PLAIN, limit_samples=3)
    assert (len(again.paths), len(again.lines)) == (1, 3)
    other = run(positive=LOUD, neutral=PLAIN.replace("hums", "mumbles"), limit_samples=2)
    assert len(other.paths) == 2


def test_a_description_without_the_characters_name_is_said_to_be_about_them(run):
    done = run(positive="A shy person", neutral=PLAIN, limit_samples=1)
    assert any("\n\nAbout Kim: A shy person\n\nWhat does Kim say, " in text for text in users(done.backend))


def test_the_side_that_is_missing_is_described_by_the_prompter_and_that_is_said(run, caplog):
    with caplog.at_level(logging.INFO, "psyctl"):
        done = run(positive=LOUD, prompter=FakePrompter(), limit_samples=1)
    assert "No neutral description is given: the prompter describes that side." in caplog.text
    assert any("Kim is known for this: neutral." in text for text in users(done.backend))
    caplog.clear()
    with caplog.at_level(logging.INFO, "psyctl"):
        run(neutral=PLAIN, prompter=FakePrompter(), limit_samples=1)
    assert "No description of Extroversion is given: the prompter describes that side." in caplog.text


def test_each_trait_has_its_own_and_all_share_the_neutral_ones(run, tmp_path):
    own = {"Extraversion": LOUD, "Openness": ["{character} asks why.", "{character} asks what for."]}
    done = run("Extroversion, Openness", positive=own, neutral=PLAIN, limit_samples=2)
    assert sum("hums" in text for text in users(done.backend)) == 2
    assert [sum(word in text for text in users(done.backend)) for word in ("sings", "why", "what for")] == [2, 1, 1]


def test_several_are_dealt_by_offset_in_pairs_and_the_record_says_which(run, tmp_path):
    mine = [f"{{character}} is loud {n}." for n in (1, 2, 3)], [f"{{character}} is calm {n}." for n in (1, 2, 3)]
    done = run(positive=mine[0], neutral=mine[1], limit_samples=5, source=FakeSource(9, skip=lambda at: at == 1))
    for request in done.backend.asked:
        offset = int(request.id.partition(":")[0])
        assert f" {offset % 3 + 1}." in request.messages[-1].content
    assert [json.loads(line)["metadata"] for line in done.lines] == [{"persona": n} for n in (1, 3, 1, 2, 3)]
    assert set(run_file(tmp_path)["personas"]) == {
        "neutral", "neutral 2", "neutral 3", "positive", "positive 2", "positive 3",
    }  # fmt: skip


def test_one_description_of_a_side_is_said_to_be_twice_there(run, caplog):
    run(positive=[LOUD, LOUD], neutral=PLAIN, limit_samples=1)
    assert "Two personas of Extroversion are the same text: {character} sings" in caplog.text


def test_the_plan_shows_given_personas_and_counts_no_request_for_them(tmp_path):
    plan = plan_caa(
        "Openness", tmp_path / "x", backend=FakeBackend(), source=FakeSource(9), prompter="p2", limit_samples=4,
        positive=LOUD, neutral="Somebody plain",
    )  # fmt: skip
    assert plan.personas == {"Openness": LOUD, "neutral": "About {character}: Somebody plain"}
    assert plan.requests == 8
    assert "Kim sings" in plan.example.messages[-1].content


@pytest.mark.parametrize(
    ("own", "message"),
    [
        ({"positive": "{name} is loud."}, r"has \{name\}, which nothing fills in"),
        ({"positive": "{{char}} is loud."}, r"has \{\{char\}\}"),
        ({"positive": "{{character}} is loud."}, r"has \{\{character\}\}"),
        ({"positive": "{character} is loud }."}, r"has \}"),
        ({"positive": LOUD, "neutral": "x" * 50_000}, r"neutral has 50,000 characters; at most 4,000"),
        ({"positive": " \n"}, "describes nobody"),
        ({"positive": ""}, "describes nobody"),
        ({"positive": []}, "list of descriptions of Extroversion is empty"),
        ({"positive": 3}, "which is no text"),
        ({"positive": {"Openness": LOUD}}, "given of Openness, but the run is about Extroversion"),
        ({"positive": [LOUD] * 2, "neutral": [PLAIN] * 3}, "has 2 personas and its other side 3"),
        ({"positive": LOUD, "neutral": PLAIN, "contrast": "opposite"}, "compares with nobody neutral"),
        ({"contrast": "middle"}, "contrast 'middle' is unknown"),
        ({"personas": 0}, "leave nobody"),
    ],
)
def test_what_cannot_be_used_is_refused_before_anything_is_asked(run, own, message):
    done = run(raises=UsageError, limit_samples=1, **own)
    with pytest.raises(UsageError, match=message):
        raise done.error
    assert done.backend.asked == []
    assert done.error.hint


def test_one_positive_side_for_two_traits_is_refused(run):
    assert "by trait" in run("Openness, Neuroticism", positive=LOUD, raises=UsageError).error.hint


@pytest.mark.parametrize(
    ("data", "positive", "neutral"),
    [
        ({"positive": LOUD, "neutral": PLAIN}, {"": (LOUD,)}, (PLAIN,)),
        ({"positive": [LOUD, "b"], "neutral": [PLAIN, "d"]}, {"": (LOUD, "b")}, (PLAIN, "d")),
        ({"Openness": {"positive": LOUD}, "neutral": PLAIN}, {"Openness": (LOUD,)}, (PLAIN,)),
        ({"neutral": PLAIN}, {}, (PLAIN,)),
    ],
)
def test_a_persona_file_has_one_trait_or_several(tmp_path, data, positive, neutral):
    path = tmp_path / "p.json"
    path.write_text(json.dumps(data), encoding="utf-8-sig")
    assert read_persona_file(path) == PersonaChoice(positive, neutral)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is not JSON"),
        ("{", "is not JSON"),
        ("[" * 100_000, "is not JSON"),
        ("[]", "holds no descriptions"),
        ("{}", "holds no descriptions"),
        ('{"Openness": "text"}', "under 'Openness', has no 'positive'"),
        ('{"Openness": {"positive": "a", "neutral": "b"}}', "under 'Openness', has 'neutral', which is not read there"),
        ('{"positive": {"a": 1}}', "no text"),
        ('{"positive": "a", "neutral": "b", "positive": "c"}', "p.json' gives 'positive' a second time"),
        ('{"Openness": {"positive": "a"}, "Openness": {"positive": "b"}}', "gives 'Openness' a second time"),
        ('{"positive": "a", "neutral": null}', "no text"),
        ('{"positive": "' + "a" * 1_000_001 + '"}', "at most 1,000,000 are read"),
    ],
)
def test_a_persona_file_of_another_form_is_refused_with_the_form(tmp_path, text, message):
    path = tmp_path / "p.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(UsageError, match=message):
        read_persona_file(path)
    with pytest.raises(UsageError, match="cannot be read"):
        read_persona_file(tmp_path)


@examples(st.text(alphabet=st.characters(), max_size=60))
def test_whatever_is_given_is_one_line_or_refused(text):
    try:
        (line,) = given(text).settled(parse_traits("Openness")).positive["Openness"]
    except UsageError:
        return
    assert line.isprintable()
    assert line == line.strip()
    line.encode("utf-8")


def test_the_command_reads_the_file(tmp_path, monkeypatch, capsys):
    path = tmp_path / "mine.json"
    path.write_text(json.dumps({"positive": "A \ud83d loud one", "neutral": PLAIN}), encoding="utf-8")
    started = []
    monkeypatch.setattr("psyctl_core.cli.build.run", lambda config, *_, **__: started.append(config) or Mock())
    monkeypatch.setattr("psyctl_core.cli.build.shown", lambda *_, **__: None)
    words = [
        "dataset.build.caa",
        "--model",
        "embedded",
        "--personality",
        "Openness",
        "--output",
        "x",
        "--personas",
        "3",
    ]
    make_app()([*words, "--persona-file", str(path)], standalone_mode=False)
    assert started[0].personas == PersonaChoice({"": ("A \ud83d loud one",)}, (PLAIN,), "neutral", 3)


def test_a_number_that_decides_nothing_is_said_to_have_no_effect(run, caplog):
    run(positive=LOUD, neutral=PLAIN, personas=3, limit_samples=1)
    assert "--personas 3 has no effect: both sides are given." in caplog.text
    caplog.clear()
    run(positive=LOUD, personas=3, limit_samples=1)
    assert "no effect" not in caplog.text


def test_descriptions_of_other_traits_are_said_to_be_unused(run, caplog):
    with caplog.at_level(logging.INFO, "psyctl"):
        run(positive={"Openness": LOUD, "Extroversion": LOUD}, neutral=PLAIN, limit_samples=1)
    assert "The descriptions of Openness are not used: the run is about Extroversion." in caplog.text


def test_stored_personas_are_read_again(run, tmp_path):
    done = run(positive=[LOUD, "b"], neutral=[PLAIN, "d"], limit_samples=1)
    personas = open_dataset(done.paths[0]).run["personas"]
    assert personas["positive 2"]["description"] == "About {character}: b"


STATIC = StaticPrompter(StaticConfig(), Context())


def shipped(trait: str, *, opposite: bool = False) -> list[str]:
    return [STATIC.describe_other(trait, None, opposite=opposite, number=n).description for n in (1, 2, 3, 4)]


@pytest.mark.parametrize("trait", [*KNOWN, NEUTRAL])
def test_the_shipped_personas_are_alike_in_form_and_length_on_both_sides(trait):
    sides = [shipped(trait), shipped(NEUTRAL)]
    if trait != NEUTRAL:
        sides.append(shipped(trait, opposite=True))
    for own, *others in zip(*sides, strict=True):
        for text in (own, *others):
            assert re.fullmatch(r"\{character\} is [^.{]+\. \{character\} [^.]+\.", text)
            assert 0.75 < len(text) / len(own) < 1.34, (own, text)
    texts = [text for side in sides[::2] for text in side]
    assert len(set(texts)) == len(texts)


def test_the_opposite_shipped_descriptions_speak_of_the_low_pole():
    for trait in KNOWN:
        for text in shipped(trait, opposite=True):
            assert flaw(text, trait, opposite=True) != "speaks of the trait itself", text
        for text in shipped(trait):
            assert flaw(text, trait) != "speaks of the trait's opposite", text


def test_several_shipped_personas_are_dealt_and_shown(run, tmp_path, capsys):
    done = run(personas=4, limit_samples=8)
    for request in done.backend.asked:
        offset, _, side = request.id.partition(":")
        texts = shipped("neutral" if side == "neutral" else "Extroversion")
        assert texts[int(offset) % 4].replace("{character}", "Kim") in request.messages[-1].content
    make_app()(["dataset.show", str(tmp_path / "out"), "--personas", "--count", "1"], standalone_mode=False)
    shown = capsys.readouterr().out
    for label, text in {"Extroversion": "sociable", "Extroversion 2": "outgoing", "neutral 4": "unremark"}.items():
        assert re.search(rf"^{label}: .*{text}", shown, re.MULTILINE)


@pytest.mark.parametrize(("prompter", "most"), [("static", 4), ("p2", 6)])
def test_more_personas_than_there_are_is_one_error_with_the_number_there_is(run, prompter, most):
    done = run(personas=most + 1, prompter=prompter, raises=UsageError)
    assert f"has {most} descriptions of a person, and {most + 1} are wanted." in done.error.message
    assert done.backend.asked == done.paths == []


def test_the_opposite_stands_in_the_neutral_column_and_the_record_says_so(run, tmp_path, capsys):
    backend = FakeBackend()
    run("Extroversion, Openness", contrast="opposite", limit_samples=1, backend=backend)
    done = run("Extroversion, Openness", contrast="opposite", limit_samples=3, backend=backend)  # it goes on
    assert len(done.backend.asked) == 2 * 2 * 3
    assert {json.loads(line)["metadata"]["contrast"] for line in done.lines} == {"opposite"}
    for trait, word in (("extroversion", "quietest"), ("openness", "most unimaginative")):
        own = [r.messages[-1].content for r in done.backend.asked if r.id.endswith(f":{trait}:opposite")]
        assert len(own) == 3
        assert all(f"Kim is about the {word}" in text for text in own)
    make_app()(["dataset.show", str(tmp_path / "out"), "--personas"], standalone_mode=False)
    shown = capsys.readouterr().out
    assert "opposite: {character} is about the quietest" in shown
    assert "Kim, opposite (" in shown
    assert "Kim, neutral (" not in shown


def test_a_run_against_the_opposite_is_resumed_as_itself_and_mixes_with_no_other(run):
    run(contrast="opposite", limit_samples=2)
    assert len(run(contrast="opposite", limit_samples=4).paths) == 1
    assert len(run(limit_samples=2).paths) == 2
    assert len(run(personas=2, limit_samples=2).paths) == 3


def test_defaults_are_no_part_of_the_identity(run, tmp_path):
    run(limit_samples=1)
    assert "personas" not in run_file(tmp_path)["identity"]
    assert set(run_file(tmp_path)["personas"]) == {"positive", "neutral"}


def test_a_prompter_with_one_description_refuses_in_one_line(run):
    for own in ({"contrast": "opposite"}, {"personas": 2}):
        error = run(prompter=FakePrompter(), raises=UsageError, **own).error
        assert "FakePrompter' (from psyctl_core.testing.fakes) describes one person with each" in error.message
        assert "--prompter static" in error.hint


def test_the_plan_counts_and_shows_the_opposites(tmp_path):
    plan = plan_caa(
        "Openness, Extroversion", tmp_path / "x", backend=FakeBackend(), source=FakeSource(9), prompter="static",
        limit_samples=4, contrast="opposite", personas=2,
    )  # fmt: skip
    assert plan.requests == 4 * 4
    assert list(plan.personas) == [
        "Openness", "Openness 2", "Extroversion", "Extroversion 2", "opposite of Openness", "opposite of Openness 2",
        "opposite of Extroversion", "opposite of Extroversion 2",
    ]  # fmt: skip


def test_a_plan_with_p2_asks_for_nothing_twice(tmp_path):
    plan = plan_caa(
        "Openness, Sarcasm", tmp_path / "x", backend=FakeBackend(), source=FakeSource(9), prompter="p2",
        limit_samples=4, contrast="opposite", personas=2,
    )  # fmt: skip
    assert {len(prompts) for prompts in plan.persona_prompts.values()} == {2}


def test_a_description_for_all_pairs_is_not_left_to_chance(run):
    asked = []

    def noted(request):
        asked.append((request.id.split(":")[0], request.temperature))
        return fake_answer(request)

    run("Extroversion", prompter="p2", backend=FakeBackend(answer=noted), limit_samples=2, temperature=0.7)
    assert {heat for kind, heat in asked if kind == "persona"} == {0.1}
    assert {heat for kind, heat in asked if kind != "persona"} == {0.7}
