"""Exporters for tools that take prompts and answers as they are, and for tables."""

from __future__ import annotations

import json
from collections.abc import Sequence

from psyctl_core.components import Context, DatasetExporter, Exported, ExportTarget
from psyctl_core.records import CaaRecord, JsonValue, prompt_of
from psyctl_exporters import NoConfig
from psyctl_exporters.rows import (
    HELD_OUT,
    parts,
    read_as_missing,
    write_csv,
    write_json,
    write_json_lines,
    write_parquet,
)

NO_CONCEPT = "EEEEE"
"""What AxBench calls the concept of a row that shows none; such a row's ``concept_id`` is -1."""

GENRE = "text"

AXBENCH_COLUMNS = {
    "input": "string",
    "output": "string",
    "output_concept": "string",
    "concept_genre": "string",
    "category": "string",
    "dataset_category": "string",
    "concept_id": "int64",
}
"""The columns of AxBench's table; it compares ids as numbers."""


class _Plain(DatasetExporter):
    """An exporter without options."""

    def __init__(self, config: NoConfig, context: Context) -> None:
        del config, context


class AiSteerExporter(_Plain):
    """Contrastive pairs of AISteer360, which puts the chat template around them itself."""

    reads = "what its estimator is told to: the prompts are user turns, the answers completions"

    def export(self, pairs: Sequence[CaaRecord], held_out: Sequence[CaaRecord], target: ExportTarget) -> Exported:
        """Write three lists of equal length."""
        files = []
        for stem, records in parts(target, pairs, held_out):
            lists: JsonValue = {
                "prompts": [prompt_of(record) for record in records],
                "positives": [record.positive_text for record in records],
                "negatives": [record.neutral_text for record in records],
            }
            files.append(write_json(target, f"{stem}.json", lists))
        steps = (
            f'ContrastivePairs(**json.load(open("{target.place / files[0]}"))), with prompt_format="chat_completion"'
        )
        return Exported(tuple(files), steps)


class AxBenchExporter(_Plain):
    """AxBench's training table for one concept: a row for each answer."""

    reads = "the mean over the tokens behind the template's beginning"

    def export(self, pairs: Sequence[CaaRecord], held_out: Sequence[CaaRecord], target: ExportTarget) -> Exported:
        """Write the table with the dtypes that AxBench compares, and the line of metadata that names the concept."""
        files = [
            write_parquet(
                target,
                f"generate/train_data{suffix}.parquet",
                [row for record in records for row in _concept_rows(record)],
                AXBENCH_COLUMNS,
            )
            for suffix, records in (("", pairs), (HELD_OUT, held_out))
            if records
        ]
        concept: dict[str, JsonValue] = {
            "concept_id": 0,
            "concept": pairs[0].trait,
            "ref": "",
            "concept_genres_map": {pairs[0].trait: [GENRE]},
        }
        files.append(write_json_lines(target, "generate/metadata.jsonl", [concept]))
        steps = (
            f"torchrun --nproc_per_node=1 axbench/scripts/train.py --config CONFIG --dump_dir {target.place}, "
            "with DiffMean among the config's models"
        )
        return Exported(tuple(files), steps, ("The concept has no SAE feature, so methods that need one must be off.",))


class PublicPsyctlExporter(_Plain):
    """The texts of the psyctl that extracts vectors, which numbers the options itself; a folder holds one file."""

    reads = "the option's number behind its own question"

    def export(self, pairs: Sequence[CaaRecord], held_out: Sequence[CaaRecord], target: ExportTarget) -> Exported:
        """Write texts, what is held out into another folder: the tool takes whatever file it finds in one."""
        files = [
            write_json_lines(
                target,
                f"{stem}/{stem}.jsonl",
                (
                    {
                        "situation": record.situation,
                        "char_name": record.character,
                        "positive": record.positive_text,
                        "neutral": record.neutral_text,
                    }
                    for record in records
                ),
            )
            for stem, records in parts(target, pairs, held_out)
        ]
        steps = (
            f'psyctl extract.steering --model MODEL --layer "model.layers[13].mlp.down_proj" '
            f"--dataset {(target.place / files[0]).parent} --output {target.name}.safetensors"
        )
        return Exported(tuple(files), steps)


class DpoExporter(_Plain):
    """Preferences as messages, as trl's trainers take them."""

    reads = "both answers' probabilities: the one with the trait is preferred"

    def export(self, pairs: Sequence[CaaRecord], held_out: Sequence[CaaRecord], target: ExportTarget) -> Exported:
        """Write a preference a line."""
        files = [
            write_json_lines(target, f"{stem}.jsonl", map(_preference, records))
            for stem, records in parts(target, pairs, held_out)
        ]
        steps = (
            f'DPOTrainer(model=..., train_dataset=load_dataset("json", data_files="{target.place / files[0]}", '
            'split="train"), ...).train()'
        )
        return Exported(tuple(files), steps)


class BipoExporter(_Plain):
    """BiPO's files: it trains on one and tests on another."""

    reads = "both answers' probabilities under the vector that it trains"

    def export(self, pairs: Sequence[CaaRecord], held_out: Sequence[CaaRecord], target: ExportTarget) -> Exported:
        """Write questions with both answers as texts."""
        files = [
            write_csv(
                target,
                f"data/{target.name}/{name}.csv",
                [
                    {"question": prompt_of(r), "matching": r.positive_text, "not_matching": r.neutral_text}
                    for r in records
                ],
            )
            for name, records in (("train", pairs), ("test", held_out))
            if records
        ]
        notes = list(read_as_missing([*pairs, *held_out]))
        if not held_out:
            notes.append("BiPO reads a test file, too: --held-out 20 would write it.")
        steps = f"copy {target.place / 'data'} into a checkout of BiPO, then: python train.py --behavior {target.name}"
        return Exported(tuple(files), steps, tuple(notes))


class CsvExporter(_Plain):
    """A table for whatever reads CSV."""

    reads = "all columns of a record; metadata is JSON"

    def export(self, pairs: Sequence[CaaRecord], held_out: Sequence[CaaRecord], target: ExportTarget) -> Exported:
        """Write a record a line."""
        files = [
            write_csv(target, f"{stem}.csv", [_flat(record) for record in records])
            for stem, records in parts(target, pairs, held_out)
        ]
        steps = f'pandas.read_csv("{target.place / files[0]}", keep_default_na=False)'
        return Exported(tuple(files), steps, read_as_missing([*pairs, *held_out]))


class ParquetExporter(_Plain):
    """A table for whatever reads Parquet."""

    reads = "all columns of a record; metadata is JSON"

    def export(self, pairs: Sequence[CaaRecord], held_out: Sequence[CaaRecord], target: ExportTarget) -> Exported:
        """Write a record a row, every column text."""
        columns = dict.fromkeys(CaaRecord.__dataclass_fields__, "string")
        files = [
            write_parquet(target, f"{stem}.parquet", [_flat(record) for record in records], columns)
            for stem, records in parts(target, pairs, held_out)
        ]
        steps = f'load_dataset("parquet", data_files="{target.place / files[0]}"), or pandas.read_parquet'
        return Exported(tuple(files), steps)


def _concept_rows(record: CaaRecord) -> list[dict[str, JsonValue]]:
    """The answer with the concept, and the one without any."""
    shared = {"input": prompt_of(record), "concept_genre": GENRE, "dataset_category": "instruction"}
    return [
        {**shared, "output": text, "output_concept": concept, "category": category, "concept_id": number}
        for text, concept, category, number in (
            (record.positive_text, record.trait, "positive", 0),
            (record.neutral_text, NO_CONCEPT, "negative", -1),
        )
    ]


def _preference(record: CaaRecord) -> dict[str, JsonValue]:
    return {
        "prompt": [{"role": "user", "content": prompt_of(record)}],
        "chosen": [{"role": "assistant", "content": record.positive_text}],
        "rejected": [{"role": "assistant", "content": record.neutral_text}],
    }


def _flat(record: CaaRecord) -> dict[str, JsonValue]:
    """A record with text in every column."""
    metadata = json.dumps(record.metadata) if record.metadata else ""
    return {**record.as_json(), "metadata": metadata}
