"""Vectors as other tools' files: read back as those tools read them, each block's direction at that block."""

from __future__ import annotations

import dataclasses

import pytest

torch = pytest.importorskip("torch", reason="the extra 'hf' is not installed")

from psyctl_core import OutputError, UsageError  # noqa: E402
from psyctl_steering import Steering, SteeringVector  # noqa: E402
from psyctl_steering.choices import FORMATS  # noqa: E402
from psyctl_steering.formats import export  # noqa: E402
from psyctl_steering.steering import changed  # noqa: E402
from psyctl_steering.vector import LayerFacts, VectorFacts  # noqa: E402

BLOCKS = 6
WIDTH = 32


def vector_of(layers) -> SteeringVector:
    """A vector whose direction at block i is i + 1 in its first number."""
    facts = VectorFacts("an/model", "f", "mean", "answer-mean", "Extroversion (high)", "d", 9, architecture="llama")
    facts = dataclasses.replace(facts, blocks=BLOCKS)
    directions = {layer: torch.tensor([number + 1.0, *[0.5] * (WIDTH - 1)]) for number, layer in enumerate(layers)}
    return SteeringVector(directions, {layer: LayerFacts(10.0) for layer in layers}, facts)


@pytest.fixture
def vector() -> SteeringVector:
    return vector_of([f"model.layers[{number}]" for number in range(BLOCKS)])


def test_a_control_vector_names_the_block_whose_output_it_is_added_to(vector, tmp_path):
    """llama.cpp and repeng add ``direction.i`` behind block i, and llama.cpp refuses a file with an i of 0."""
    gguf = pytest.importorskip("gguf")
    written = export(vector, "gguf", tmp_path / "new" / "v.gguf")
    reader = gguf.GGUFReader(written.files[0])
    found = {tensor.name: float(tensor.data[0]) for tensor in reader.tensors}
    assert found == {f"direction.{number}": number + 1.0 for number in range(1, BLOCKS)}
    assert {tensor.tensor_type.name for tensor in reader.tensors} == {"F32"}
    assert reader.get_field("general.architecture").contents() == "controlvector"
    assert reader.get_field("controlvector.model_hint").contents() == "llama"
    assert reader.get_field("controlvector.layer_count").contents() == BLOCKS - 1
    assert "block 0" in written.notes[0]
    direction = vector.directions["model.layers[4]"]
    assert f":{0.2 * 10 / float(direction.norm()):.2f} --control-vector-layer-range 4 4" in written.next


def test_persona_vectors_rows_are_hidden_states(vector, tmp_path):
    """It reads ``hidden_states[L]``, which block L - 1 puts out, and steers there."""
    written = export(vector, "persona-vectors", tmp_path / "v.pt")
    rows = torch.load(written.files[0])
    assert rows.shape == (BLOCKS + 1, WIDTH)
    assert rows[:, 0].tolist() == [0, 1, 2, 3, 4, 5, 6]
    assert "--layer 5" in written.next


def test_rows_that_the_vector_has_nothing_for_are_0_and_that_is_told(tmp_path):
    written = export(vector_of(["model.layers[3]"]), "persona-vectors", tmp_path / "v.pt")
    rows = torch.load(written.files[0])
    assert rows[:, 0].tolist() == [0, 0, 0, 0, 1, 0, 0]
    assert "nothing for 5 blocks, whose rows are 0" in written.notes[0]


@pytest.mark.parametrize(
    ("to", "names"),
    [
        ("easyedit", ["layer_{}.pt"]),
        (
            "caa",
            [f"{folder}/extroversion_high_/vec_layer_{{}}_model.pt" for folder in ("vectors", "normalized_vectors")],
        ),
    ],
)
def test_a_file_a_layer(vector, tmp_path, to, names):
    written = export(vector, to, tmp_path / "out")
    expected = {name.format(number): number + 1.0 for name in names for number in range(BLOCKS)}
    found = {path.relative_to(tmp_path / "out").as_posix(): path for path in (tmp_path / "out").rglob("*.pt")}
    assert {name: float(torch.load(path)[0]) for name, path in found.items()} == expected
    assert {path.relative_to(tmp_path / "out").as_posix() for path in written.files} == set(expected)


def test_what_lies_within_a_block_is_left_out_and_told(tmp_path):
    vector = vector_of(["model.layers[1]", "model.layers[1].mlp.down_proj"])
    written = export(vector, "easyedit", tmp_path / "out")
    assert [path.name for path in written.files] == ["layer_1.pt"]
    assert "model.layers[1].mlp.down_proj" in written.notes[0]
    with pytest.raises(UsageError, match="steer at whole blocks"):
        export(vector_of(["model.layers[1].mlp.down_proj"]), "easyedit", tmp_path / "other")
    assert not (tmp_path / "other").exists()


@pytest.mark.parametrize("to", FORMATS)
def test_a_place_that_cannot_be_is_one_line_and_nothing_is_written(vector, tmp_path, to):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").write_text("mine")
    with pytest.raises(UsageError, match=r"no name for this file|not an empty folder"):
        export(vector, to, tmp_path / "full")
    with pytest.raises(OutputError, match="cannot be written"):
        export(vector, to, tmp_path / "full" / "file" / "v.gguf")
    assert [path.name for path in tmp_path.rglob("*")] == ["full", "file"]


def test_no_such_format_and_no_direction(vector, tmp_path):
    with pytest.raises(UsageError, match="no format 'gg'"):
        export(vector, "gg", tmp_path / "v")
    with pytest.raises(UsageError, match="no place for block 0"):
        export(vector_of(["model.layers[0]"]), "gguf", tmp_path / "v.gguf")
    directions = {**vector.directions, "model.layers[2]": torch.zeros(WIDTH)}
    with pytest.raises(UsageError, match="direction is 0 at block 2"):
        export(dataclasses.replace(vector, directions=directions), "easyedit", tmp_path / "v")


def logits_of(model):
    with torch.no_grad():
        return model(torch.tensor([[5, 6, 7, 8]])).logits


def ours(lent, vector, layer, scale):
    """The model's logits with the direction added so many times at a layer."""
    norm = float(vector.directions[layer].norm())
    facts = {name: dataclasses.replace(each, norm=norm) for name, each in vector.layers.items()}
    with Steering(lent.model, dataclasses.replace(vector, layers=facts), scale, layers=[layer]):
        return logits_of(lent.model)


def test_the_file_steers_persona_vectors_way_as_ours_does(lent, vector, tmp_path):
    layer = "model.layers[1]"
    expected = ours(lent, vector_of([f"model.layers[{n}]" for n in range(2)]), layer, 3.0)
    rows = torch.load(export(vector, "persona-vectors", tmp_path / "v.pt").files[0])
    row = 2  # what --layer says; it adds the row to what block 2 - 1 puts out
    with changed(lent.model, {f"model.layers[{row - 1}]": lambda states: states + 3.0 * rows[row]}):
        assert torch.allclose(logits_of(lent.model), expected, atol=1e-4)


@pytest.mark.filterwarnings("ignore")  # theirs
def test_repeng_reads_the_file_and_steers_as_ours_does(lent, tmp_path, monkeypatch):
    numpy = pytest.importorskip("numpy")
    monkeypatch.setattr(numpy, "float_", numpy.float64, raising=False)  # repeng 0.4.0 was made for NumPy 1
    repeng = pytest.importorskip("repeng", reason="the extra 'consumers' is not installed")
    vector = vector_of(["model.layers[0]", "model.layers[1]"])
    expected = ours(lent, vector, "model.layers[1]", 3.0)
    read = repeng.ControlVector.import_gguf(export(vector, "gguf", tmp_path / "v.gguf").files[0])
    assert read.model_type == "llama"
    controlled = repeng.ControlModel(lent.model, [1])
    try:
        controlled.set_control(read, 3.0)
        assert torch.allclose(logits_of(controlled), expected, atol=1e-4)
    finally:
        controlled.reset()
        controlled.unwrap()


@pytest.mark.slow
def test_the_command_says_what_to_run_next(typed_here, vector, tmp_path):
    vector.save(tmp_path / "v.safetensors")
    ended = typed_here("vector.export", "v.safetensors", "--to", "gguf", "--output", "v.gguf")
    assert ended.returncode == 0, ended.stderr
    assert "Wrote v.gguf" in ended.stdout
    assert "Next: llama-cli -m MODEL.gguf --control-vector-scaled v.gguf:" in ended.stdout
    wrong = typed_here("vector.export", "v.safetensors", "--to", "onnx", "--output", "v.gguf")
    assert wrong.returncode == 2
    assert "persona-vectors (one .pt file" in wrong.stderr
