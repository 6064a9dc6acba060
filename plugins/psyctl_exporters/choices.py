"""Exporters for tools that read the letter of an option: every pair is written in both orders.

With each pair in one order alone the letter is part of the mean difference as soon as a filter or a split leaves one
order in the majority; with both it cancels exactly.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from psyctl_core.components import Context, DatasetExporter, Exported, ExportTarget
from psyctl_core.figures import number
from psyctl_core.records import CaaRecord, JsonValue, prompt_of
from psyctl_exporters import NoConfig
from psyctl_exporters.rows import parts, write_json, write_json_lines, write_text

LETTERS = ("(A)", "(B)")
"""Tools that read the token before the last find the letter there; in ``(1`` they would find the bracket."""


class CaaExporter(DatasetExporter):
    """The files of nrimsky/CAA, in its folders."""

    reads = "the token before the last, which is the letter: mean of the differences"

    def __init__(self, config: NoConfig, context: Context) -> None:
        del config, context

    def export(self, pairs: Sequence[CaaRecord], held_out: Sequence[CaaRecord], target: ExportTarget) -> Exported:
        """Write questions with options; those held out as tests, with options and open-ended."""
        name = target.name
        files = [write_json(target, f"datasets/generate/{name}/generate_dataset.json", _questions(pairs))]
        notes = [_both(pairs)]
        if held_out:
            test = f"datasets/test/{name}"
            open_ended: JsonValue = [{"question": prompt_of(record)} for record in held_out]
            files.append(write_json(target, f"{test}/test_dataset_ab.json", _questions(held_out)))
            files.append(write_json(target, f"{test}/test_dataset_open_ended.json", open_ended))
        else:
            notes.append("No pair is held out, so there is no test: --held-out 50 would write datasets/test.")
        steps = (
            f"copy {target.place / 'datasets'} into a checkout of CAA, add '{name}' to ALL_BEHAVIORS in behaviors.py, "
            f"then: python generate_vectors.py --layers 13 --model_size 7b --behaviors {name}"
        )
        return Exported(tuple(files), steps, tuple(notes))


class EasyEditExporter(DatasetExporter):
    """Files for both ways in which EasyEdit's CAA reads, and their entries in its table of formats."""

    reads = "the mean over the answer's tokens, or with multiple_choice the letter before the last token"

    def __init__(self, config: NoConfig, context: Context) -> None:
        del config, context

    def export(self, pairs: Sequence[CaaRecord], held_out: Sequence[CaaRecord], target: ExportTarget) -> Exported:
        """Write the answers as texts, and as options; as JSON, where no answer can be taken for a missing one."""
        files, entries = [], []
        for stem, records in parts(target, pairs, held_out):
            for name, rows in ((stem, _texts(records)), (f"{stem}_choices", _options(records))):
                files.append(write_json(target, f"{name}.json", rows))
                entries.append(_entry(name, str(target.place / f"{name}.json")))
        files.append(write_text(target, "dataset_format.yaml", "train:\n" + "".join(entries)))
        steps = (
            f"put the entries of {target.place / 'dataset_format.yaml'} under train: in EasyEdit's "
            f"hparams/Steer/dataset_format.yaml, then train with steer_train_dataset: {target.name} and "
            f"multiple_choice: false, or with {target.name}_choices and multiple_choice: true"
        )
        return Exported(tuple(files), steps, (_both(pairs),))


class InspectExporter(DatasetExporter):
    """Samples for a multiple-choice task of Inspect."""

    reads = "which of the choices a model takes"

    def __init__(self, config: NoConfig, context: Context) -> None:
        del config, context

    def export(self, pairs: Sequence[CaaRecord], held_out: Sequence[CaaRecord], target: ExportTarget) -> Exported:
        """Write a sample for each order; the target is the letter of the answer with the trait."""
        files = [
            write_json_lines(target, f"{stem}.jsonl", (row for record in records for row in _samples(record)))
            for stem, records in parts(target, pairs, held_out)
        ]
        steps = (
            f'a task with Task(dataset=json_dataset("{target.place / files[0]}"), solver=multiple_choice(), '
            "scorer=choice()); its accuracy is the share of answers with the trait"
        )
        return Exported(tuple(files), steps, (_both(pairs),))


def both_orders(record: CaaRecord) -> Iterator[tuple[tuple[str, str], int]]:
    """The two answers in either order, and the place of the one with the trait."""
    yield (record.positive_text, record.neutral_text), 0
    yield (record.neutral_text, record.positive_text), 1


def _questions(records: Sequence[CaaRecord]) -> JsonValue:
    keys = ("question", "answer_matching_behavior", "answer_not_matching_behavior")
    return [dict(zip(keys, row, strict=True)) for record in records for row in _lettered(record)]


def _options(records: Sequence[CaaRecord]) -> JsonValue:
    keys = ("question", "matching", "not_matching")
    return [dict(zip(keys, row, strict=True)) for record in records for row in _lettered(record)]


def _lettered(record: CaaRecord) -> Iterator[tuple[str, str, str]]:
    """A question with its options, the letter with the trait, and the other; in both orders."""
    for (first, second), place in both_orders(record):
        question = f"{prompt_of(record)}\n\nChoices:\n {LETTERS[0]} {first}\n {LETTERS[1]} {second}"
        yield question, LETTERS[place], LETTERS[1 - place]


def _texts(records: Sequence[CaaRecord]) -> JsonValue:
    return [
        {"question": prompt_of(record), "matching": record.positive_text, "not_matching": record.neutral_text}
        for record in records
    ]


def _samples(record: CaaRecord) -> Iterator[dict[str, JsonValue]]:
    for answers, place in both_orders(record):
        yield {
            "input": prompt_of(record),
            "choices": list(answers),
            "target": "AB"[place],
            "id": f"{record.id}-{'AB'[place]}",
            "metadata": {"trait": record.trait, "character": record.character, "pair": record.id},
        }


def _entry(name: str, path: str) -> str:
    quoted = path.replace("'", "''")
    keys = "".join(f"      {key}: {key}\n" for key in ("question", "matching", "not_matching"))
    return f"  {name}:\n    file_path: '{quoted}'\n    field_names:\n{keys}"


def _both(pairs: Sequence[CaaRecord]) -> str:
    return f"Each pair ({number(len(pairs))}) is written in both orders, so that no letter stands for the trait."
