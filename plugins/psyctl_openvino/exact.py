"""Rewrites GGUF files whose blocks OpenVINO would round, so that it computes the model that the file holds."""

from __future__ import annotations

import contextlib
import logging
import shutil
from pathlib import Path
from typing import Any

import numpy as np
from gguf import GGML_QUANT_SIZES, GGMLQuantizationType, GGUFReader, GGUFValueType, GGUFWriter, ReaderTensor, quants

from psyctl_core.errors import BackendError
from psyctl_core.files import written_whole
from psyctl_core.local_models import kept_copy

log = logging.getLogger("psyctl")

READ_EXACTLY = ("F32", "F16", "BF16", "Q4_0", "Q6_K", "Q8_0")
"""Formats that OpenVINO GenAI takes over as they are.

A block of another format has a minimum besides its scale (Q4_1, Q4_K). OpenVINO rounds the minimum to a whole
number of steps (``make_int4_weights`` in its ``gguf_utils/building_blocks.cpp``), which moves all weights of the
block by up to half a step. It does not read the rest (Q5_K and others) at all.
"""

FORM = "q8_0.gguf"
"""What such tensors are written as: 8-bit blocks, with far finer steps than the original's 4 or 5 bits."""


def exact(file: Path) -> Path:
    """The file itself where OpenVINO computes with what it holds, else a copy that says the same in 8-bit blocks.

    The copy is made once and kept in the Hugging Face cache folder.

    Raises:
        BackendError: The copy cannot be written, or the file is no GGUF file.
    """
    copy = kept_copy(file, FORM)
    if copy.is_file():
        return copy
    try:
        reader = GGUFReader(file)
    except (OSError, ValueError, KeyError, IndexError) as error:
        raise BackendError(f"'{file}' cannot be read as a GGUF file.", "Download or export it again.") from error
    if all(tensor.tensor_type.name in READ_EXACTLY for tensor in reader.tensors):
        return file
    log.info("Rewriting %s with 8-bit blocks, once: OpenVINO would round the ones it has", file.name)
    try:
        _write(reader, copy)
    except (OSError, NotImplementedError, ValueError, KeyError) as error:
        raise BackendError(
            f"Model '{file.name}' cannot be rewritten for OpenVINO: {error}.",
            "Make room in the Hugging Face cache folder (HF_HOME), use a Q8_0 file, or give --openvino-rounded.",
        ) from error
    return copy


def _write(reader: GGUFReader, copy: Path) -> None:
    """Write the copy; it appears whole or not at all."""
    copy.parent.mkdir(parents=True, exist_ok=True)
    needed = sum(_written_size(tensor) for tensor in reader.tensors)
    free = shutil.disk_usage(copy.parent).free
    if needed > free:
        raise OSError(f"the copy takes {needed / (1 << 30):.1f} GiB, and {free / (1 << 30):.1f} GiB are free")
    with written_whole(copy) as new, contextlib.closing(GGUFWriter(new, _architecture(reader))) as writer:
        _write_into(writer, reader)


def _architecture(reader: GGUFReader) -> Any:
    return reader.fields["general.architecture"].contents()


def _write_into(writer: GGUFWriter, reader: GGUFReader) -> None:
    for name, field in reader.fields.items():
        value, is_array = field.contents(), field.types[0] == GGUFValueType.ARRAY
        if name.startswith("GGUF.") or name == "general.architecture" or (is_array and not value):
            continue  # the writer writes these itself, and knows no empty arrays
        writer.add_key_value(name, value, field.types[0], field.types[-1] if is_array else None)
    for tensor in reader.tensors:
        shape = [int(size) for size in reversed(tensor.shape)]
        writer.add_tensor_info(tensor.name, shape, np.dtype("float32"), _written_size(tensor), _written_as(tensor))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    for tensor in reader.tensors:  # one at a time in memory
        writer.write_tensor_data(_rewritten(tensor))


def _written_as(tensor: ReaderTensor) -> GGMLQuantizationType:
    return tensor.tensor_type if tensor.tensor_type.name in READ_EXACTLY else GGMLQuantizationType.Q8_0


def _written_size(tensor: ReaderTensor) -> int:
    block, size = GGML_QUANT_SIZES[_written_as(tensor)]
    return int(tensor.n_elements) // block * size


def _rewritten(tensor: ReaderTensor) -> Any:
    if tensor.tensor_type == _written_as(tensor):
        return tensor.data
    return quants.quantize(quants.dequantize(tensor.data, tensor.tensor_type), GGMLQuantizationType.Q8_0)
