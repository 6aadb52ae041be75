"""Graphs that join ``embed`` and ``thinker`` and own no weights: they refer to the bytes of large tensors in
``embed.onnx`` and ``thinker.onnx``, so weights are stored once."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import onnx
from onnx import compose

FILES = ("embed.onnx", "thinker.onnx")
SMALL = 1024  # bytes of a tensor that is stored in place


def join(folder: Path, *, without: str = "") -> onnx.ModelProto:
    """The graphs ``embed`` and ``thinker`` of ``folder`` as one, from ``input_ids`` to all outputs but ``without``.
    Inputs with a default stay at it."""
    embed, thinker = (onnx.load(folder / name) for name in FILES)
    outputs = [output.name for output in thinker.graph.output if output.name != without]
    embed = compose.add_prefix(embed, "embed.", rename_inputs=False, rename_outputs=False)
    joined = compose.merge_models(
        embed, thinker, io_map=[("inputs_embeds", "inputs_embeds")], outputs=outputs, producer_name="muomni"
    )
    optional = {tensor.name for tensor in joined.graph.initializer}
    needed = [given for given in joined.graph.input if given.name not in optional]
    del joined.graph.input[:]
    joined.graph.input.extend(needed)
    versions = {entry.domain: entry.version for entry in joined.opset_import}  # merged, it lists those of both
    del joined.opset_import[:]
    joined.opset_import.extend(onnx.helper.make_opsetid(domain, version) for domain, version in versions.items())
    return joined


def write_joined(joined: onnx.ModelProto, folder: Path, name: str, weights: Sequence[str] = FILES) -> None:
    """Write what was made of :func:`join`, or of another graph, without the weights that files of ``folder`` hold."""
    files = {file: (folder / file).read_bytes() for file in weights}
    for tensor in joined.graph.initializer:
        size = len(tensor.raw_data)
        places = {file: content.find(tensor.raw_data) for file, content in files.items()} if size > SMALL else {}
        file = next((file for file, offset in places.items() if offset >= 0), None)
        if file is not None:
            tensor.ClearField("raw_data")
            tensor.data_location = onnx.TensorProto.EXTERNAL
            for key, value in (("location", file), ("offset", str(places[file])), ("length", str(size))):
                tensor.external_data.add(key=key, value=value)
    (folder / name).write_bytes(joined.SerializeToString())
