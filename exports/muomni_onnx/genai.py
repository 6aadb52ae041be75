"""The Thinker as onnxruntime-genai loads it: one graph from ids to logits that owns no weights
(:mod:`muomni_onnx.joined`)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from muomni_cli.core.files import write_json
from muomni_onnx.joined import join, write_joined

TEXT = "text.onnx"


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
    write_joined(join(folder, without="hidden"), folder, TEXT)
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
