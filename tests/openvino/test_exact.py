"""GGUF files for OpenVINO: blocks that it would round are rewritten, everything else stays as it was."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

import numpy as np
import pytest
from gguf import GGMLQuantizationType as Format
from gguf import GGUFReader, GGUFWriter, quants

from psyctl_core import BackendError, Context
from psyctl_core._caa.prompts import answer_request
from psyctl_core.budget import Budget
from psyctl_core.records import Persona
from psyctl_openvino import OpenVinoConfig
from psyctl_openvino import backend as module
from psyctl_openvino import exact as rewriting
from psyctl_openvino.backend import OpenVinoBackend
from psyctl_openvino.exact import exact

WEIGHTS = np.random.default_rng(0).normal(0.3, 1.0, (6, 64)).astype("float32")


@pytest.fixture(autouse=True)
def _cache(tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HOME", str(tmp_path / "cache"))


def gguf_file(path: Path, **formats: str) -> Path:
    """A GGUF file with the same weights in several formats, and fields of several types."""
    writer = GGUFWriter(path, "llama")
    writer.add_uint32("llama.block_count", 3)
    writer.add_string("general.name", "Tiny 비 🌧")
    writer.add_array("tokenizer.ggml.tokens", ["a", "Ġb", "비"])
    writer.add_float32("llama.rope.freq_base", 1e5)
    writer.add_tensor("norm", WEIGHTS[0])
    for name, format in formats.items():
        data = quants.quantize(WEIGHTS, Format[format])
        writer.add_tensor(name, data, raw_dtype=Format[format])
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def values(path: Path) -> dict[str, np.ndarray]:
    return {t.name: quants.dequantize(t.data, t.tensor_type).reshape(t.shape[::-1]) for t in GGUFReader(path).tensors}


def fields(path: Path) -> dict[str, object]:
    return {name: f.contents() for name, f in GGUFReader(path).fields.items() if not name.startswith("GGUF.")}


def test_blocks_with_a_minimum_keep_their_values(tmp_path):
    file = gguf_file(tmp_path / "m.gguf", first="Q4_1", second="Q5_1", third="Q8_0", fourth="Q4_0")
    copy = exact(file)
    assert copy != file
    before, after = values(file), values(copy)
    assert list(before) == list(after)
    for name in ("norm", "third", "fourth"):
        assert np.array_equal(before[name], after[name])
    step = (before["first"].max() - before["first"].min()) / 15
    for name in ("first", "second"):
        assert np.abs(before[name] - after[name]).max() < step / 10  # rounding moves by up to half a step
    assert fields(copy) == fields(file)
    assert {t.tensor_type.name for t in GGUFReader(copy).tensors} == {"F32", "Q8_0", "Q4_0"}


def test_what_openvino_reads_exactly_is_left_alone(tmp_path):
    file = gguf_file(tmp_path / "m.gguf", first="Q4_0", second="Q8_0", third="F16")
    assert exact(file) == file
    assert not (tmp_path / "cache").exists()


def test_the_copy_is_made_once_and_belongs_to_the_content(tmp_path, monkeypatch):
    file = gguf_file(tmp_path / "m.gguf", first="Q4_1")
    copy = exact(file)
    monkeypatch.setattr(rewriting, "GGUFReader", None)
    assert exact(file) == exact(file.rename(tmp_path / "renamed.gguf")) == copy
    monkeypatch.undo()
    monkeypatch.setattr("huggingface_hub.constants.HF_HOME", str(tmp_path / "cache"))
    assert exact(gguf_file(tmp_path / "other.gguf", second="Q4_1")) != copy


def test_a_copy_that_cannot_be_written_leaves_nothing_and_is_told(tmp_path, monkeypatch):
    file = gguf_file(tmp_path / "m.gguf", first="Q4_1")
    monkeypatch.setattr(rewriting.shutil, "disk_usage", lambda path: type("", (), {"free": 10}))
    with pytest.raises(BackendError, match=r"'m.gguf' cannot be rewritten for OpenVINO: the copy takes 0\.0 GiB"):
        exact(file)
    monkeypatch.undo()
    monkeypatch.setattr("huggingface_hub.constants.HF_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(rewriting.quants, "quantize", lambda *_: (_ for _ in ()).throw(OSError("No space left")))
    with pytest.raises(BackendError, match="No space left") as caught:
        exact(file)
    assert "--openvino-rounded" in caught.value.hint
    assert not list((tmp_path / "cache").rglob("*.gguf"))
    (tmp_path / "broken.gguf").write_bytes(b"GGUF no more")
    with pytest.raises(BackendError, match=r"broken.gguf' cannot be read as a GGUF file"):
        exact(tmp_path / "broken.gguf")


@pytest.mark.parametrize("rounded", [False, True])
def test_the_backend_loads_the_copy_unless_told_otherwise(tmp_path, monkeypatch, rounded):
    file = gguf_file(tmp_path / "m.gguf", first="Q4_1")
    loaded = []

    def pipeline(path, scheduler, device):
        del scheduler, device
        loaded.append(Path(path))
        raise RuntimeError("not this time")

    monkeypatch.setattr("openvino_genai.ContinuousBatchingPipeline", pipeline)
    with pytest.raises(BackendError, match="not this time"):
        OpenVinoBackend(OpenVinoConfig(model=str(file), cache_size=1, rounded=rounded), Context()).start(Budget(None))
    assert loaded == [file if rounded else exact(file)]


@pytest.mark.slow
def test_the_embedded_model_says_what_its_weights_say(embedded, monkeypatch):
    """Without the copy hardly an answer begins as Transformers begins it with the same file in float32."""
    pytest.importorskip("transformers", reason="the extra 'hf' is not installed")
    from psyctl_hf import HfConfig
    from psyctl_hf.backend import HfBackend
    from psyctl_soda import StarterConfig
    from psyctl_soda.starter import StarterSource

    persona = Persona("Extroversion", "{character} is outgoing, talkative and full of energy.")
    scenarios = islice(StarterSource(StarterConfig(), Context()).scenarios(0), 6)
    asked = [answer_request(s, persona, s.id, max_tokens=12, temperature=0.0, seed=0) for s in scenarios]

    def answers(backend) -> dict[str, str]:
        backend.start(Budget(None))
        done = {c.id: c.text.strip() for c in backend.generate(iter(asked))}
        backend.close()
        return done

    copy = answers(embedded())
    monkeypatch.undo()  # the user's cache, as unpacking takes long, and another engine
    truth = answers(HfBackend(HfConfig(model="embedded", dtype="float32", device="cpu"), Context()))
    rounded = answers(OpenVinoBackend(OpenVinoConfig(model="embedded", cache_size=1, rounded=True), Context()))
    agree = [sum(found[id] == truth[id] for id in truth) for found in (copy, rounded)]
    assert agree[0] >= 3, agree
    assert agree[1] <= 1, agree


def test_a_folder_is_never_rewritten(tmp_path, monkeypatch):
    (tmp_path / "openvino_model.xml").write_text("<xml/>")
    monkeypatch.setattr(rewriting, "exact", None)
    monkeypatch.setattr(module, "_check_room", lambda *_: None)
    with pytest.raises(BackendError, match="cannot be loaded by OpenVINO"):
        OpenVinoBackend(OpenVinoConfig(model=str(tmp_path), cache_size=1), Context()).start(Budget(None))
