"""What a strong, a middling and no expression of a trait look like in speech, for the eight known traits."""

from __future__ import annotations

from typing import NamedTuple


class Guide(NamedTuple):
    """What a line says at the top, in the middle and at the bottom of the scale."""

    high: str
    mid: str
    low: str


GUIDES: dict[str, Guide] = {
    "Extroversion": Guide(
        "Seeks company and attention: greets with gusto, invites others along, talks freely about themselves, is "
        "openly excited, wants more people and more to happen.",
        "Friendly and responsive, joins in when spoken to, but neither starts things nor draws back.",
        "Reserved or matter-of-fact: says little, keeps to the point, wants no company, or prefers to be alone.",
    ),
    "Agreeableness": Guide(
        "Warm and considerate: comforts, thanks, gives way, offers help, forgives, sees the good in the other and puts "
        "their needs first.",
        "Polite and fair, helps when asked, without much warmth and without unkindness.",
        "Cold, critical, stubborn or quarrelsome: blames, refuses, mocks, or does not care what the other needs.",
    ),
    "Conscientiousness": Guide(
        "Plans, checks and keeps promises: names steps, times or duties, wants things done properly and on time, takes "
        "responsibility.",
        "Gets on with what is needed, without special care and without neglect.",
        "Careless or putting things off: forgets, improvises, breaks agreements, does not mind the mess or the delay.",
    ),
    "Neuroticism": Guide(
        "Anxious, tense or easily hurt: expects the worst, doubts themselves, dwells on what went wrong, is upset by "
        "small things.",
        "Some worry or irritation that fits what happened and soon passes.",
        "Calm and steady: takes things lightly, trusts that it will work out, is not shaken by trouble or criticism.",
    ),
    "Openness": Guide(
        "Curious and imaginative: asks unusual questions, plays with ideas, compares with art or far places, wants to "
        "try what is new.",
        "Interested enough to listen or ask an ordinary question, without ideas of their own.",
        "Conventional and practical: keeps to what is known, shows no interest in ideas, dislikes change.",
    ),
    "Machiavellianism": Guide(
        "Steers others for their own gain: flatters with a purpose, bargains, hides motives, plays people against each "
        "other, weighs what each is good for.",
        "Looks after their own interest openly and fairly, with some tact.",
        "Open and straightforward: says what they think and want, has no hidden purpose, treats others as ends.",
    ),
    "Narcissism": Guide(
        "Brings the talk back to their own greatness: boasts, expects admiration or special treatment, takes the "
        "credit, looks down on others.",
        "Some pride or self-confidence with a reason, while others count too.",
        "Modest: gives credit to others, speaks of themselves plainly or not at all, wants no admiration.",
    ),
    "Psychopathy": Guide(
        "Cold and without remorse: does not care who is hurt, says so bluntly, enjoys risk or breaking rules, feels no "
        "guilt or fear.",
        "Blunt or detached at this moment, without cruelty.",
        "Feels with the other: is moved, sorry or careful, keeps to rules, does not want anybody to be hurt.",
    ),
}
