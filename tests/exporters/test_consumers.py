"""One data set, one vector: what the consumers' own loaders and trainers compute from an export is our number.

Ours is the mean, in float32, of the differences between the states of the last token of prompt and answer, each text
run through the model alone. The tools batch, pad and find their layers themselves; all must agree.
"""

from __future__ import annotations

import json
import math
import sys
import types
from pathlib import Path

import pytest

from psyctl_core import Context, ExportTarget
from psyctl_core.records import prompt_of
from psyctl_exporters import NoConfig, TemplateConfig
from psyctl_exporters.choices import CaaExporter, EasyEditExporter
from psyctl_exporters.tables import AiSteerExporter, DpoExporter
from psyctl_exporters.texts import PersonaVectorsExporter, RepengExporter, SteeringVectorsExporter

torch = pytest.importorskip("torch", reason="the extra 'hf' is not installed")
transformers = pytest.importorskip("transformers", reason="the extra 'hf' is not installed")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore"),  # theirs
]

LAYER = 0
CLOSE = 1e-4


@pytest.fixture
def model(tiny_model):
    return transformers.AutoModelForCausalLM.from_pretrained(tiny_model, dtype=torch.float32).eval()


@pytest.fixture
def tokenizer(tiny_model):
    return transformers.AutoTokenizer.from_pretrained(tiny_model)


def state(model, tokenizer, text, place=-1):
    """The state behind block ``LAYER`` of one token of a text, read alone."""
    with torch.no_grad():
        tokens = tokenizer(text, return_tensors="pt")
        return model(**tokens, output_hidden_states=True).hidden_states[LAYER + 1][0, place].float()


def templated(tokenizer, record, answer):
    """Written here anew, so that a mistake of the exporter shows."""
    turn = [{"role": "user", "content": prompt_of(record)}]
    return tokenizer.apply_chat_template(turn, tokenize=False, add_generation_prompt=True) + answer


@pytest.fixture
def ours(model, tokenizer, records):
    """Our mean difference over the records."""
    differences = [
        state(model, tokenizer, templated(tokenizer, record, record.positive_text))
        - state(model, tokenizer, templated(tokenizer, record, record.neutral_text))
        for record in records
    ]
    mean = torch.stack(differences).mean(0)
    assert mean.norm() > 100 * CLOSE, "nothing would be compared"
    return mean


@pytest.fixture
def file(tmp_path, tiny_model, records):
    """Export the records; gives the first file."""

    def made(exporter, config=None):
        config = config or TemplateConfig(str(tiny_model))
        where = ExportTarget(tmp_path, "extroversion", "Extroversion", tmp_path)
        return tmp_path / exporter(config, Context()).export(records, [], where).files[0]

    return made


def agrees(theirs, ours):
    return float((torch.as_tensor(theirs).float() - ours).abs().max()) < CLOSE


def test_steering_vectors_trains_our_vector(model, tokenizer, file, ours):
    steering_vectors = pytest.importorskip("steering_vectors", reason="the extra 'consumers' is not installed")
    samples = [tuple(row) for row in json.loads(file(SteeringVectorsExporter).read_text(encoding="utf-8"))]
    for batch_size in (1, 5):
        trained = steering_vectors.train_steering_vector(
            model, tokenizer, samples, layers=[LAYER], batch_size=batch_size
        )
        assert agrees(trained.layer_activations[LAYER], ours)


def test_repeng_reads_our_vector(model, tokenizer, file, ours, monkeypatch):
    numpy = pytest.importorskip("numpy")
    monkeypatch.setattr(numpy, "float_", numpy.float64, raising=False)  # repeng 0.4.0 was made for NumPy 1
    repeng = pytest.importorskip("repeng.extract", reason="the extra 'consumers' is not installed")
    rows = json.loads(file(RepengExporter).read_text(encoding="utf-8"))
    entries = [repeng.DatasetEntry(**row) for row in rows]
    texts = [text for entry in entries for text in (entry.positive, entry.negative)]
    states = repeng.batched_get_hiddens(model, tokenizer, texts, [LAYER], 8)[LAYER]
    assert agrees((states[::2] - states[1::2]).mean(0), ours)


def test_dialz_trains_our_vector(model, tiny_model, file, ours, monkeypatch):
    for name in ("IPython", "IPython.display"):  # its pictures, which are not needed here
        module = types.ModuleType(name)
        module.HTML = module.display = None
        monkeypatch.setitem(sys.modules, name, module)
    dialz = pytest.importorskip("dialz", reason="the extra 'consumers' is not installed", exc_type=ImportError)
    rows = json.loads(file(RepengExporter).read_text(encoding="utf-8"))
    entries = dialz.Dataset()
    entries.add_from_saved(rows)
    model.model_name, model.token = str(tiny_model), None
    trained = dialz.SteeringVector.train(model, entries, method="mean_diff", hidden_layers=[LAYER])
    assert agrees(trained.directions[LAYER], ours)


def test_dpo_begins_at_the_logarithm_of_two(model, records, tokenizer, file, tmp_path):
    trl = pytest.importorskip("trl", reason="the extra 'consumers' is not installed")
    datasets = pytest.importorskip("datasets")
    path = str(file(DpoExporter, NoConfig()))
    rows = datasets.load_dataset("json", data_files=path, split="train", cache_dir=str(tmp_path / "cache"))
    for row, record in zip(rows, records, strict=True):
        said = [row[name][0]["content"] for name in ("prompt", "chosen", "rejected")]
        assert said == [prompt_of(record), record.positive_text, record.neutral_text]
    arguments = trl.DPOConfig(
        output_dir=str(tmp_path / "dpo"), max_steps=1, per_device_train_batch_size=4, learning_rate=0.0, use_cpu=True,
        report_to=[], save_strategy="no", logging_steps=1, bf16=False, disable_tqdm=True, gradient_checkpointing=False,
    )  # fmt: skip
    trainer = trl.DPOTrainer(model=model, args=arguments, train_dataset=rows, processing_class=tokenizer)
    trainer.train()
    (loss,) = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    assert math.isclose(loss, math.log(2), abs_tol=CLOSE)


# Tools that are no packages: their own code where it is installed, else their way of reading, as their loaders do it.
# Read were AISteer360 at commit 1d7c843 (version 0.3.0), EasyEdit at 14cea82, and persona_vectors in November 2026.


def test_aisteer360_trains_our_vector(model, tokenizer, file, ours):
    estimators = pytest.importorskip(
        "aisteer360.algorithms.state_control._common.estimators.mean_difference",
        reason="AISteer360 is not installed; it is in no package registry",
    )
    from aisteer360.algorithms.core.internals.data import as_contrastive_pairs
    from aisteer360.algorithms.state_control._common.specs import VectorTrainSpec

    data = as_contrastive_pairs(json.loads(file(AiSteerExporter, NoConfig()).read_text(encoding="utf-8")))
    spec = VectorTrainSpec(method="mean_diff", accumulate="last_token")
    trained = estimators.MeanDifferenceEstimator().fit(model, tokenizer, data=data, spec=spec)
    assert agrees(trained.directions[LAYER][0], ours)


def test_what_aisteer360_reads_is_our_vector(model, tokenizer, file, ours):
    """User turn and answer, all texts of a side padded on the right together, the last token by the mask."""
    lists = json.loads(file(AiSteerExporter, NoConfig()).read_text(encoding="utf-8"))
    assert len(lists["prompts"]) == len(lists["positives"]) == len(lists["negatives"])

    def last(answers):
        turns = [[{"role": "user", "content": prompt}] for prompt in lists["prompts"]]
        texts = [
            tokenizer.apply_chat_template(turn, tokenize=False, add_generation_prompt=True) + answer
            for turn, answer in zip(turns, answers, strict=True)
        ]
        batch = tokenizer(texts, return_tensors="pt", padding=True, add_special_tokens=False)
        with torch.no_grad():
            states = model(**batch, output_hidden_states=True).hidden_states[LAYER + 1]
        return states[torch.arange(len(texts)), batch["attention_mask"].cumsum(1).argmax(1)].float()

    assert agrees((last(lists["positives"]) - last(lists["negatives"])).mean(0), ours)


def answer_mean(model, tokenizer, prompt, answer):
    """The mean state of the tokens behind a prompt's."""
    with torch.no_grad():
        tokens = tokenizer(prompt + answer, return_tensors="pt", add_special_tokens=False)
        states = model(**tokens, output_hidden_states=True).hidden_states[LAYER + 1][0]
    return states[len(tokenizer(prompt, add_special_tokens=False)["input_ids"]) :].float().mean(0)


def our_answer_means(model, tokenizer, records, blank=""):
    differences = [
        answer_mean(model, tokenizer, templated(tokenizer, record, ""), blank + record.positive_text)
        - answer_mean(model, tokenizer, templated(tokenizer, record, ""), blank + record.neutral_text)
        for record in records
    ]
    return torch.stack(differences).mean(0)


def test_what_easyedit_reads_is_our_vector(model, tokenizer, records, tmp_path):
    """The file that its table names; templated question, blank and answer; the mean over the answer's tokens."""
    yaml = pytest.importorskip("yaml")
    where = ExportTarget(tmp_path, "extroversion", "Extroversion", tmp_path)
    EasyEditExporter(NoConfig(), Context()).export(records, [], where)
    entry = yaml.safe_load((tmp_path / "dataset_format.yaml").read_text(encoding="utf-8"))["train"]["extroversion"]
    loaded = json.loads(Path(entry["file_path"]).read_text(encoding="utf-8"))
    rows = [{name: row[column] for name, column in entry["field_names"].items()} for row in loaded]
    sides = []
    for side in ("matching", "not_matching"):
        texts = [
            (tokenizer.apply_chat_template(
                [{"role": "user", "content": row["question"]}], tokenize=False, add_generation_prompt=True
            ), f" {row[side]}")
            for row in rows
        ]  # fmt: skip
        sides.append(torch.stack([answer_mean(model, tokenizer, *text) for text in texts]))
    assert agrees((sides[0] - sides[1]).mean(0), our_answer_means(model, tokenizer, records, " "))


def test_what_persona_vectors_reads_is_our_vector(model, tokenizer, records, tiny_model, tmp_path):
    """The rows that both files' scores let through; the mean over each answer's tokens, then over each side."""
    pandas = pytest.importorskip("pandas")
    where = ExportTarget(tmp_path, "extroversion", "Extroversion", tmp_path)
    done = PersonaVectorsExporter(TemplateConfig(str(tiny_model)), Context()).export(records, [], where)
    positive, negative = (pandas.read_csv(tmp_path / file) for file in done.files)
    kept = (positive["extroversion"] >= 50) & (negative["extroversion"] < 50)
    kept &= (positive["coherence"] >= 50) & (negative["coherence"] >= 50)
    means = [
        torch.stack(
            [answer_mean(model, tokenizer, *text) for text in zip(rows["prompt"], rows["answer"], strict=True)]
        ).mean(0)
        for rows in (positive[kept], negative[kept])
    ]
    assert agrees(means[0] - means[1], our_answer_means(model, tokenizer, records))


def letters_vector(model, tokenizer, rows, keys, join):
    """The mean difference of the states at the token before the last."""
    differences = [
        state(model, tokenizer, join(row[keys[0]], row[keys[1]]), -2)
        - state(model, tokenizer, join(row[keys[0]], row[keys[2]]), -2)
        for row in rows
    ]
    return torch.stack(differences)


@pytest.mark.parametrize(
    ("exporter", "number", "keys", "join"),
    [
        (
            CaaExporter,
            0,
            ("question", "answer_matching_behavior", "answer_not_matching_behavior"),
            lambda question, answer: f"{question} {answer}",
        ),
        (
            EasyEditExporter,
            1,
            ("question", "matching", "not_matching"),
            lambda question, answer: f"{question}\nAnswer: {answer}",
        ),
    ],
)
def test_the_letter_before_the_last_token_differs_and_cancels(
    exporter, number, keys, join, model, tokenizer, records, tmp_path
):
    where = ExportTarget(tmp_path, "extroversion", "Extroversion", tmp_path)
    path = tmp_path / exporter(NoConfig(), Context()).export(records, [], where).files[number]
    rows = json.loads(path.read_text(encoding="utf-8"))
    for row in rows:
        tokens = tokenizer(join(row[keys[0]], row[keys[1]]))["input_ids"]
        assert tokenizer.decode(tokens[-2]) in "AB", "what is read is the letter"
    differences = letters_vector(model, tokenizer, rows, keys, join)
    signs = torch.tensor([1.0 if row[keys[1]] == "(A)" else -1.0 for row in rows])
    letter = (differences * signs[:, None]).mean(0)
    assert (differences.norm(dim=1) > 0).all(), "with a bracket there every difference would be nothing"
    one_order = differences[signs > 0].mean(0)
    cosine = torch.nn.functional.cosine_similarity
    assert cosine(one_order, letter, dim=0) > 0.9, "in one order the letter is what is found"
    assert differences.mean(0) @ letter / letter.norm() ** 2 < 0.2, "in both it is not"


def test_a_digit_in_brackets_would_be_read_as_nothing(model, tokenizer, records):
    """Why options are written as letters: this is what the dataset's own ``(1`` would give at that token."""
    texts = (records[0].question + option for option in ("(1", "(2"))
    first, second = (state(model, tokenizer, text, -2) for text in texts)
    assert torch.equal(first, second)
