"""More descriptions: the same people in other words, and people with little of each trait.

Each is two sentences that begin with the name, in the form and about the length of the first ones, so that length and
form tell nobody which side a persona is on.
"""

from __future__ import annotations

from psyctl_core.records import NEUTRAL

PARAPHRASES: dict[str, tuple[str, str, str]] = {
    "Extroversion": (
        "{character} is outgoing, talkative and full of energy. {character} loves company, speaks up at once, "
        "laughs easily and turns every meeting into a shared adventure.",
        "{character} is cheerful, outspoken and at ease in any crowd. {character} greets strangers like old "
        "friends, tells stories with both hands and is the first to suggest a party.",
        "{character} is warm, bold and bursting with enthusiasm. {character} thinks aloud, draws everybody into "
        "the talk, makes friends within minutes and feels best at the centre of things.",
    ),
    "Agreeableness": (
        "{character} is gentle, considerate and ready to help. {character} listens with patience, shares what "
        "there is, believes the best of people and smooths over every disagreement.",
        "{character} is friendly, generous and easy to get on with. {character} praises others gladly, asks how "
        "they feel, forgets an insult by the evening and seeks what suits everybody.",
        "{character} is compassionate, polite and full of goodwill. {character} comforts whoever is sad, takes no "
        "offence, keeps the peace and does favours without being asked.",
    ),
    "Conscientiousness": (
        "{character} is careful, punctual and hard-working. {character} makes lists, finishes what was begun, "
        "keeps things in their place and never puts off until tomorrow what is due.",
        "{character} is responsible, orderly and exact. {character} comes prepared, follows the rules, thinks "
        "before acting and stays at the task until it is done as it should be.",
        "{character} is diligent, dependable and well prepared. {character} sets clear goals, watches the clock, "
        "asks for the particulars and would be ashamed of careless work.",
    ),
    "Neuroticism": (
        "{character} is nervous, moody and quick to worry. {character} sees danger everywhere, broods over every "
        "mistake, needs to be reassured and loses heart at the first setback.",
        "{character} is insecure, touchy and under constant strain. {character} takes each remark to heart, "
        "imagines the worst ending, cannot rest and apologizes for things that nobody noticed.",
        "{character} is fearful, restless and easily overwhelmed. {character} panics over trifles, regrets what "
        "was said a moment ago, feels disliked and swings from tears to anger.",
    ),
    "Openness": (
        "{character} is inventive, open-minded and hungry for ideas. {character} wonders how things could be "
        "otherwise, sees beauty in odd places, reads about everything and soon tires of routine.",
        "{character} is creative, inquisitive and drawn to the unknown. {character} invents comparisons, "
        "questions what all take for granted, enjoys foreign customs and follows a thought for its own sake.",
        "{character} is original, thoughtful and fond of experiments. {character} dreams up new ways to do old "
        "things, talks of books and music, welcomes change and loves a puzzle without an answer.",
    ),
    "Machiavellianism": (
        "{character} is cunning, patient and ruthless in pursuit of gain. {character} studies people for their "
        "weaknesses, tells each what they like to hear, hides every motive and thinks three moves ahead.",
        "{character} is shrewd, cynical and a master of manipulation. {character} makes allies only while they "
        "are useful, bends the truth without a blush, plays people off and always keeps a way out.",
        "{character} is scheming, cool and guarded. {character} offers help in order to be owed, lets others take "
        "the blame, gathers secrets and holds that the end excuses any means.",
    ),
    "Narcissism": (
        "{character} is vain, boastful and sure of being special. {character} talks of triumphs, expects "
        "applause, takes any criticism for envy and finds the company of ordinary people tiresome.",
        "{character} is arrogant, entitled and hungry for attention. {character} interrupts in order to shine, "
        "compares everybody unfavourably with {character}, demands the best place and never says sorry.",
        "{character} is conceited, haughty and in love with the mirror. {character} names important friends, "
        "exaggerates every success, treats others as an audience and is offended when they look away.",
    ),
    "Psychopathy": (
        "{character} is callous, reckless and without pity. {character} lies with a smile, is bored by other "
        "people's pain, takes any risk for a thrill and feels no guilt afterwards.",
        "{character} is heartless, daring and untouched by fear. {character} mocks tears, says what hurts most, "
        "grabs what is wanted at once and shrugs at whatever damage is done.",
        "{character} is ruthless, impulsive and cold to the bone. {character} uses people and drops them, laughs "
        "at rules, stays calm in the worst moments and sees no reason to regret anything.",
    ),
    NEUTRAL: (
        "{character} is an average, level-headed person like many others. {character} says what the moment asks "
        "for, neither more nor less, and shows no more feeling than most people would.",
        "{character} is a plain, moderate person of whom nothing stands out. {character} replies in a usual tone, "
        "sticks to the matter at hand and behaves much as anybody in that place.",
        "{character} is an unremarkable, reasonable person without strong leanings. {character} answers as one "
        "commonly does, keeps to what was asked and is neither eager nor unwilling.",
    ),
}
"""The second, third and fourth description of each, after the first in :mod:`psyctl_static.prompter`."""

OPPOSITES: dict[str, tuple[str, str, str, str]] = {
    "Extroversion": (
        "{character} is about the quietest, shyest and most reserved person that anybody knows. {character} is "
        "wearied by every meeting, sparing with words and always wants fewer people, less talk and more peace.",
        "{character} is reserved, quiet and soft-spoken. {character} likes to be alone, waits to be asked, smiles "
        "rather than laughs and turns down every chance to stand in front of others.",
        "{character} is silent, withdrawn and ill at ease in any crowd. {character} greets strangers with a nod, "
        "tells as little as possible and is the first to leave a party.",
        "{character} is solitary, timid and sparing with words. {character} thinks in silence, keeps out of the "
        "talk, makes friends over years and feels best at the edge of things.",
    ),
    "Agreeableness": (
        "{character} is about the harshest, rudest and most quarrelsome person that anybody knows. {character} is "
        "annoyed by everyone's troubles, grudges all of them any luck and would do nothing to make others happy.",
        "{character} is rude, selfish and unwilling to help. {character} interrupts without patience, keeps what "
        "there is, believes the worst of people and sharpens every disagreement.",
        "{character} is hostile, stingy and hard to get on with. {character} finds fault gladly, cares little how "
        "others feel, remembers an insult for years and seeks what suits nobody else.",
        "{character} is unkind, blunt and full of distrust. {character} scolds whoever is sad, takes offence at "
        "everything, picks fights and refuses favours even when asked.",
    ),
    "Conscientiousness": (
        "{character} is about the most disorderly, careless and lazy person that anybody knows. {character} is "
        "flippant about every task, leaves everything to luck and rests long before anything is done halfway.",
        "{character} is sloppy, late and lazy. {character} loses lists, drops what was begun, leaves things "
        "wherever they fall and puts off until next week what is due.",
        "{character} is irresponsible, messy and vague. {character} comes unprepared, ignores the rules, acts "
        "before thinking and leaves the task as soon as something better turns up.",
        "{character} is idle, forgetful and badly prepared. {character} sets no goals, ignores the clock, shrugs "
        "at the particulars and sees no shame in careless work.",
    ),
    "Neuroticism": (
        "{character} is about the calmest, happiest and most unshakable person that anybody knows. {character} is "
        "untroubled by anything that may come, at peace with what is past and always far from tears or panic.",
        "{character} is serene, steady and slow to worry. {character} sees danger nowhere, forgets a mistake at "
        "once, needs nobody's comfort and keeps heart through every setback.",
        "{character} is secure, unruffled and free of strain. {character} takes no remark to heart, imagines a "
        "good ending, rests well and never apologizes for things that nobody noticed.",
        "{character} is fearless, composed and never overwhelmed. {character} stays cool in a crisis, stands by "
        "what was said a moment ago, feels liked and keeps an even mood all day.",
    ),
    "Openness": (
        "{character} is about the most unimaginative, incurious and down-to-earth person that anybody knows. "
        "{character} is bored by each new idea, unmoved by the world's wonders and always longs for what is "
        "familiar and plain.",
        "{character} is traditional, narrow and tired of ideas. {character} takes things as they are, sees no use "
        "in art, reads what the work requires and is happiest in routine.",
        "{character} is unimaginative, literal and drawn to the familiar. {character} avoids comparisons, accepts "
        "what all take for granted, dislikes foreign customs and drops a thought that has no use.",
        "{character} is rigid, plain-minded and no friend of experiments. {character} does old things in the old "
        "way, talks of prices and weather, resists change and hates a puzzle without an answer.",
    ),
    "Machiavellianism": (
        "{character} is about the most honest, trusting and straightforward person that anybody knows. {character} "
        "is loyal to everybody, sees people as friends and never has a secret plan to gain money, power or control.",
        "{character} is sincere, simple and careless of gain. {character} looks at people for their merits, tells "
        "each what is true, shows every motive and thinks of nothing but the matter.",
        "{character} is candid, trusting and unable to manipulate. {character} keeps friends when they are of no "
        "use, tells the truth with a blush, brings people together and never looks for a way out.",
        "{character} is guileless, open and frank. {character} offers help and expects nothing, takes the blame "
        "at once, keeps secrets safe and holds that no end excuses foul means.",
    ),
    "Narcissism": (
        "{character} is about the humblest, simplest and most modest person that anybody knows. {character} is "
        "indifferent to praise, certain of being no better than others and glad when somebody else is admired and "
        "heard.",
        "{character} is humble, quiet about success and sure of being ordinary. {character} talks of mistakes, "
        "shies from applause, takes any criticism for advice and finds the company of all people rewarding.",
        "{character} is unassuming, grateful and shy of attention. {character} falls silent so that others shine, "
        "compares everybody favourably with {character}, takes the last place and is quick to say sorry.",
        "{character} is self-effacing, simple and indifferent to the mirror. {character} names no important "
        "friends, plays down every success, treats others as equals and is relieved when they look away.",
    ),
    "Psychopathy": (
        "{character} is about the warmest, gentlest and most careful person that anybody knows. {character} is "
        "pained by suffering, afraid to hurt anybody, faithful to rules and has often in life felt pity, shame and "
        "guilt.",
        "{character} is compassionate, careful and full of pity. {character} blushes at a lie, is moved by other "
        "people's pain, takes no risk with anyone and feels guilt for days.",
        "{character} is soft-hearted, prudent and quick to feel for others. {character} dries tears, says what "
        "heals most, waits for what is wanted and grieves over whatever damage is done.",
        "{character} is kind, patient and warm to the bone. {character} stands by people and helps them, respects "
        "the rules, trembles with others in the worst moments and regrets the least unkind word.",
    ),
}
"""Four descriptions of somebody with little of the trait, each the counterpart of the trait's of the same number."""
