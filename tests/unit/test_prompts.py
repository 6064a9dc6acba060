"""How personas are described and answers asked for."""

from __future__ import annotations

import pytest

from psyctl_core import BackendError, Context, Persona, Scenario, UsageError
from psyctl_core._caa.prompts import answer_request, request_seed
from psyctl_core._caa.traits import KNOWN
from psyctl_core.records import NEUTRAL
from psyctl_core.testing.fakes import fake_scenario
from psyctl_p2 import P2Config
from psyctl_p2.prompter import P2Prompter
from psyctl_static import StaticConfig
from psyctl_static.prompter import StaticPrompter

SCENE = fake_scenario(1)


def request(scenario: Scenario = SCENE, description: str = "{character} is shy."):
    return answer_request(scenario, Persona("x", description), "1:x", max_tokens=9, temperature=0.0, seed=3)


def test_the_persona_is_about_the_scenarios_character():
    text = request().messages[-1].content
    assert "Kim is shy.\n\nWhat does Kim say, in about" in text
    assert 'Robin: "Is this bus number 1?"' in text
    assert request().prefill == 'Kim: "'


def test_both_sides_are_told_alike_how_much_to_say():
    loud, plain = (request(description=f"{{character}} is {word}.") for word in ("loud", "plain"))
    assert "about fifteen words" in loud.messages[0].content
    assert loud.messages[0] == plain.messages[0]


def test_data_is_not_read_as_a_template():
    odd = Scenario("s", 0, "{x} {{ y }} %s", "{character}", ())
    text = request(odd).messages[-1].content
    assert text.startswith("{x} {{ y }} %s")
    assert "{character} is shy." in text


def test_every_request_has_its_own_seed():
    seeds = {request_seed(0, f"{n}:neutral") for n in range(100)} | {request_seed(1, "0:neutral")}
    assert len(seeds) == 101
    assert all(0 <= seed < 2**31 for seed in seeds)


def test_static_knows_the_eight_traits_and_neutral():
    prompter = StaticPrompter(StaticConfig(), Context())
    for trait in (*KNOWN, NEUTRAL):
        persona = prompter.describe(trait, ask=None)
        assert persona.description.startswith("{character} is ")
        assert len(persona.keywords) == 5
    with pytest.raises(UsageError, match="no description of 'Sarcasm'"):
        prompter.describe("Sarcasm", ask=None)


def p2(*answers: str) -> tuple[Persona, list[str]]:
    asked = []

    def ask(messages, *, max_tokens, prefill=""):
        asked.append(messages[-1].content)
        return answers[(len(asked) - 1) % len(answers)]  # asked once more, it says the same again

    return P2Prompter(P2Config(), Context()).describe("Sarcasm", ask), asked


def test_p2_asks_for_keywords_then_for_a_description_made_of_them():
    persona, asked = p2("1. witty\n2. Biting, dry and ironic.", "sharp. Alex mocks what Alex hears. And then")
    assert persona.keywords == ("witty", "biting", "dry", "ironic")
    assert "witty, biting, dry, ironic" in asked[1]
    assert persona.description == "{character} is sharp. {character} mocks what {character} hears."


@pytest.mark.parametrize(
    ("text", "description"),
    [
        ("Alex is kind.", "{character} is kind."),
        ('"Alex is kind."', "{character} is kind."),
        ("They are kind. They listen.", "About {character}: They are kind. They listen."),
        ("kind", "{character} is kind."),
        ("Alexandra is kind.", "About {character}: Alexandra is kind."),
        ("kind {character}.", "{character} is kind ."),
    ],
)
def test_p2_puts_the_characters_name_where_the_stand_in_was(text, description):
    assert p2("kind", text)[0].description == description


@pytest.mark.parametrize("answers", [("", ""), ("1. 2. 3.",), ("kind", ""), ("kind", "...")])
def test_p2_says_when_the_model_is_too_small(answers):
    with pytest.raises(BackendError, match="--prompter static"):
        p2(*answers)
