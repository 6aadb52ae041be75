"""The Thinker as onnxruntime-genai loads it: one graph from ids to logits that owns no weights.

``text.onnx`` refers to the bytes of large tensors in ``embed.onnx`` and ``thinker.onnx``, so weights are stored once.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import onnx
from onnx import compose

from muomni_cli.core.files import write_json

TEXT = "text.onnx"
SMALL = 1024  # bytes of a tensor that is stored in place


def why_no_text(entry: Mapping[str, Any]) -> str:
    """Why onnxruntime-genai cannot run a Thinker with this manifest entry, in a few words; empty if it can."""
    graphs = entry["graphs"]
    if not {"embed", "thinker"} <= graphs.keys():
        return "it has no graphs embed and thinker"
    states = graphs["thinker"].get("states", {})
    if not states or not all(re.fullmatch(r"past_key_values\.(\d+)\.(key|value)", name) for name in states):
        return "its states are no key/value cache"
    if any(graph.get("precision", "fp32") != "fp32" for graph in graphs.values()):
        return "it is not in full precision"
    return ""


def write_text_form(bundle: Path, manifest: Mapping[str, Any]) -> None:
    """Add to the Thinker's folder what onnxruntime-genai loads: ``text.onnx`` and ``genai_config.json``. It works on
    ids: its reader of ``tokenizer.json`` (0.18) does not support the patterns that split words here."""
    folder, entry = bundle / "thinker", manifest["parts"]["thinker"]
    _write_text_graph(folder)
    graph_inputs = entry["graphs"]["thinker"]["inputs"]
    _, heads, _, width = graph_inputs["past_key_values.0.key"]
    config, chat, specials = entry["config"], manifest["chat"], manifest["special_tokens"]
    greedy = not chat.get("temperature")
    past, present = "past_key_values.%d.", "present.%d."
    decoder = {
        "session_options": {"provider_options": []},
        "filename": TEXT,
        "head_size": width,
        "hidden_size": graph_inputs["inputs_embeds"][-1],
        "inputs": {"input_ids": "input_ids", "past_key_names": f"{past}key", "past_value_names": f"{past}value"},
        "outputs": {"logits": "logits", "present_key_names": f"{present}key", "present_value_names": f"{present}value"},
        "num_attention_heads": config.get("n_heads", heads),
        "num_hidden_layers": sum(name.endswith(".key") for name in graph_inputs),
        "num_key_value_heads": heads,
    }
    model = {
        "type": "llama",
        "bos_token_id": specials.get("bos", specials["eos"]),
        "eos_token_id": specials["eos"],
        "pad_token_id": specials["pad"],
        "context_length": config["ctx_len"],
        "vocab_size": entry["vocab_size"],
        "decoder": decoder,
    }
    search = {
        "do_sample": not greedy,
        "max_length": config["ctx_len"],
        "past_present_share_buffer": False,  # caches grow
        "repetition_penalty": chat.get("repetition_penalty", 1.0),
        "temperature": 1.0 if greedy else chat["temperature"],
        "top_k": 1 if greedy else chat.get("top_k") or entry["vocab_size"],
        "top_p": chat.get("top_p", 1.0),
    }
    write_json(folder / "genai_config.json", {"model": model, "search": search})


def _write_text_graph(folder: Path) -> None:
    """Join the graphs ``embed`` and ``thinker`` of ``folder`` into one, whose weights stay where they are."""
    files = {name: (folder / name).read_bytes() for name in ("embed.onnx", "thinker.onnx")}
    embed, thinker = map(onnx.load_from_string, files.values())
    outputs = [output.name for output in thinker.graph.output if output.name != "hidden"]
    embed = compose.add_prefix(embed, "embed.", rename_inputs=False, rename_outputs=False)
    joined = compose.merge_models(
        embed, thinker, io_map=[("inputs_embeds", "inputs_embeds")], outputs=outputs, producer_name="muomni"
    )
    optional = {tensor.name for tensor in joined.graph.initializer}  # inputs with a default, which is what they stay at
    needed = [given for given in joined.graph.input if given.name not in optional]
    del joined.graph.input[:]
    joined.graph.input.extend(needed)
    versions = {entry.domain: entry.version for entry in joined.opset_import}  # merged, it lists those of both
    del joined.opset_import[:]
    joined.opset_import.extend(onnx.helper.make_opsetid(domain, version) for domain, version in versions.items())
    for tensor in joined.graph.initializer:
        size = len(tensor.raw_data)
        if size > SMALL:
            offsets = {name: content.find(tensor.raw_data) for name, content in files.items()}
            file = next(name for name, offset in offsets.items() if offset >= 0)
            tensor.ClearField("raw_data")
            tensor.data_location = onnx.TensorProto.EXTERNAL
            for key, value in (("location", file), ("offset", str(offsets[file])), ("length", str(size))):
                tensor.external_data.add(key=key, value=value)
    (folder / TEXT).write_bytes(joined.SerializeToString())
