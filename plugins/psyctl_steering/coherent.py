"""The check ``coherence``: whether what tells the sides apart is the same in every pair, in a model's states."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean, stdev

from psyctl_core import lent_model
from psyctl_core.checks import CheckedPair, CheckFacts, Finding
from psyctl_core.figures import counted
from psyctl_core.records import CaaRecord

MOST = 200
"""Pairs that are read; more would cost time and move the mean by less than .01."""

FEWEST = 3


def coherence(pairs: Sequence[CheckedPair], facts: CheckFacts) -> Finding:
    """The mean cosine of a pair's difference of states with the mean of the others', as ``extract.steering`` prints it.

    Raises:
        UsageError: There is no such model, or it is none whose states can be read.
        BackendError: It cannot be loaded, or puts out something that is no number.
    """
    if not facts.model:
        return Finding(None, "it reads a model's states; name a local one with --model NAME_OR_FOLDER")
    if len(pairs) < FEWEST:
        return Finding(None, f"it takes {FEWEST} pairs or more")
    # Imported late: whoever names no model must not wait for torch.
    from psyctl_steering.directions import cosines
    from psyctl_steering.layers import default_layer, matching
    from psyctl_steering.states import read

    count = min(MOST, len(pairs))
    some = [_record(pairs[place * len(pairs) // count], facts.trait) for place in range(count)]
    with lent_model(facts.model) as lent:
        layer = default_layer(matching(lent.model, ()), lent.model)
        with read(lent, some, [layer]) as differences:
            found = [each for part in cosines(lambda: differences.chunks(layer)) for each in part.tolist()]
            names = [record.id for record in differences.records]
    if len(found) < FEWEST:
        return Finding(None, f"the model can place {len(found)} of {counted(count, 'pair')}")
    mean, half = fmean(found), 1.96 * stdev(found) / len(found) ** 0.5
    of = "" if count == len(pairs) else f", {count} of {counted(len(pairs), 'pair')}"
    text = f"a pair's difference has a cosine of {mean:.2f} with that of the others, at {layer} of {lent.name}{of}"
    against = sorted((cosine, name) for cosine, name in zip(found, names, strict=True) if cosine < 0)
    worst = [(name, f"a cosine of {cosine:.2f} with the others") for cosine, name in against]
    return Finding(mean, text, (mean - half, mean + half), worst=worst)


def _record(pair: CheckedPair, trait: str) -> CaaRecord:
    """The pair as a dataset has it; states are read behind its scene, whatever the file calls the options."""
    return CaaRecord(
        question=pair.question, positive="(1", neutral="(2", id=pair.id, trait=trait, character=pair.character,
        situation=pair.situation or pair.question, positive_text=pair.positive, neutral_text=pair.neutral,
    )  # fmt: skip
