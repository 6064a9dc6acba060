"""The built-in checks on finished datasets, for ``psyctl dataset.check``."""

from __future__ import annotations

from collections.abc import Sequence

from psyctl_core.checks import Check
from psyctl_core.hookspecs import hookimpl

CHECKS = (
    Check(
        "power",
        "psyctl_check.form:power",
        "Pairs in all",
        "So few pairs give a direction that others of the same kind would not give.",
        look=80,
        fail=30,
    ),
    Check(
        "order",
        "psyctl_check.form:order",
        "How often the positive answer is the first option, also in every fifth of the file",
        "Read at the choice, the vector learns which option it was, '1' or '2', and not the trait.",
        look=0.5,
    ),
    Check(
        "labels",
        "psyctl_check.labels:labels",
        "Whether a tokenizer makes one token of the option's digit or letter, and no other difference",
        "A vector read at the choice is zero, or holds something else than the choice.",
        look=0.0,
        fail=0.0,
    ),
    Check(
        "length",
        "psyctl_check.form:length",
        "How often the answers of one side are the longer ones",
        "The vector holds 'speak longer', or 'speak shorter', beside the trait.",
        look=0.65,
        fail=0.80,
    ),
    Check(
        "length-ratio",
        "psyctl_check.form:length_ratio",
        "How many times as long the answers of one side are",
        "The vector holds 'speak longer', or 'speak shorter', beside the trait.",
        look=1.25,
        fail=1.5,
    ),
    Check(
        "bag-of-words",
        "psyctl_check.classified:bag_of_words",
        "How well a classifier tells the sides apart by words and pairs of words",
        "A few words tell the sides apart: the vector may hold those words rather than the trait.",
        look=0.97,
        extra="check",
    ),
    Check(
        "function-words",
        "psyctl_check.classified:function_words",
        "How well a classifier tells the sides apart by some 60 function words alone",
        "Grammar tells the sides apart: the vector holds a way of building sentences.",
        look=0.70,
        fail=0.85,
        extra="check",
    ),
    Check(
        "wrong-side",
        "psyctl_check.classified:wrong_side",
        "Pairs that read as much the wrong way round as the typical pair reads the right way",
        "Swapped answers pull the vector back as hard as good pairs pull it on; pairs without the trait add noise.",
        look=0.12,
        fail=0.15,
        extra="check",
    ),
    Check(
        "sentiment",
        "psyctl_check.sentiment:sentiment",
        "How often the answers of one side are the more cheerful ones",
        "The vector holds good or bad mood beside the trait.",
        look=0.70,
        fail=0.90,
        extra="check",
    ),
    Check(
        "trait-words",
        "psyctl_check.giveaways:trait_words",
        "Answers that name the trait or the persona's adjectives, one side against the other",
        "The vector holds talk about the trait, not the trait.",
        look=0.05,
        fail=0.20,
    ),
    Check(
        "persona-echo",
        "psyctl_check.giveaways:persona_echo",
        "Runs of four words that answers share with the persona of their side",
        "The vector holds the description that was given to the model.",
        look=0.01,
        fail=0.05,
    ),
    Check(
        "refusals",
        "psyctl_check.giveaways:refusals",
        "Answers that refuse, or speak as a language model",
        "The vector holds 'refuse', or 'I am an AI', on the side that does it more.",
        look=0.0,
        fail=0.02,
    ),
    Check(
        "openings",
        "psyctl_check.likeness:openings",
        "How many answers of a side begin with the same three words",
        "The vector holds how answers begin: many of them begin alike.",
        look=0.15,
        fail=0.40,
    ),
    Check(
        "near-duplicates",
        "psyctl_check.likeness:near_duplicates",
        "Answers of a side that are nearly the same",
        "The same answer counts several times: there are fewer pairs than it seems.",
        look=0.02,
        fail=0.10,
    ),
    Check(
        "sides-alike",
        "psyctl_check.likeness:sides_alike",
        "How many words both answers of a pair share",
        "The two answers hardly differ, so the vector is mostly noise.",
        look=0.6,
        fail=0.9,
    ),
    Check(
        "language",
        "psyctl_check.language:language",
        "Answers in another language than the scenes",
        "The vector holds the change of language.",
        look=0.0,
        fail=0.05,
    ),
)


@hookimpl
def psyctl_dataset_checks() -> Sequence[Check]:
    """Offer all of them."""
    return CHECKS
