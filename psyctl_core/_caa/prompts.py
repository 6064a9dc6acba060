"""How an answer is asked for: the scene, then the persona right before the question."""

from __future__ import annotations

import hashlib

from psyctl_core.records import CHARACTER, ChatRequest, Message, Persona, Scenario

PROMPT_VERSION = 4
"""Rises whenever the same persona and scenario would be asked differently."""

STOP = ("\n", '"')

SYSTEM = "You write what one person in a scene says next: one sentence of about fifteen words and nothing else."
"""Both sides are told alike how much to say, so that a trait does not show in the length of its answers."""


def answer_request(
    scenario: Scenario, persona: Persona, request_id: str, *, max_tokens: int, temperature: float, seed: int
) -> ChatRequest:
    """Ask for the one line that the scenario's character says next.

    The answer is begun for the model (``NAME: "``) and ends with the line or the closing quote, which
    keeps small models from narrating or repeating the scene. The persona stands last because small models
    follow what they read last; all requests share the system turn, and a scenario's share its scene.
    """
    character = scenario.character
    heard = [f'{turn.speaker}: "{turn.text}"' for turn in scenario.dialogue]
    scene = "\n\n".join([*filter(None, [scenario.situation]), *heard])
    who = persona.description.replace(CHARACTER, character)
    user = f"{scene}\n\n{who}\n\nWhat does {character} say, in about fifteen words, that only such a person would say?"
    return ChatRequest(
        id=request_id,
        messages=(Message("system", SYSTEM), Message("user", user)),
        prefill=f'{character}: "',
        stop=STOP,
        max_tokens=max_tokens,
        temperature=temperature,
        seed=request_seed(seed, request_id),
    )


def request_seed(seed: int, request_id: str) -> int:
    """A request's own sampling seed (31 bits), so that no answer depends on which came before."""
    return int.from_bytes(hashlib.sha256(f"{seed}:{request_id}".encode()).digest()[:4], "big") >> 1
