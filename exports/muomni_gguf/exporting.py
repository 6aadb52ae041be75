"""A Thinker with its tokenizer as one GGUF file, written once what it holds agrees with PyTorch.

llama.cpp rotates neighboring dimensions in models of the architectures ``llama`` and ``smollm3``, where Hugging Face's
format and muomni rotate those half a head apart: the rows of queries and keys are therefore reordered. Others
(``qwen2``, ``qwen3``) stay as they are. Shapes: V vocabulary, D width.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from muomni_cli.contract.bundle import ExportedFile, TextModel
from muomni_cli.core.errors import MuomniError, RequestError
from muomni_cli.nn.llama_config import config_of
from muomni_cli.nn.llama_weights import exported_tensors, names_of, sections_of
from muomni_cli.nn.rope_scaling import RopeScaling, rotary_frequencies
from muomni_cli.nn.text_parity import ALLOWED, Agreement, compare_text_models
from muomni_cli.registry.entries import open_entry
from muomni_cli.runs.checkpoint import build_aside
from muomni_gguf.tokenizer import add_tokenizer

FILE = "model.gguf"
KINDS = {
    "fp32": (gguf.GGMLQuantizationType.F32, gguf.LlamaFileType.ALL_F32),
    "fp16": (gguf.GGMLQuantizationType.F16, gguf.LlamaFileType.MOSTLY_F16),
    "int8": (gguf.GGMLQuantizationType.Q8_0, gguf.LlamaFileType.MOSTLY_Q8_0),
}
NOPE_EVERY = 4  # llama.cpp's smollm3 leaves positions out in every fourth layer
NEIGHBORS = ("llama", "smollm3")  # architectures whose neighboring dimensions rotate together
FREQUENCIES = "rope_freqs.weight"
ARCHITECTURES = {
    "llama": gguf.MODEL_ARCH.LLAMA,
    "qwen2": gguf.MODEL_ARCH.QWEN2,
    "qwen3": gguf.MODEL_ARCH.QWEN3,
    "smollm3": gguf.MODEL_ARCH.SMOLLM3,
}


def export(model: TextModel, folder: Path, *, precision: str, notify: Callable[[str], None]) -> list[ExportedFile]:
    """Write ``model.gguf`` into the empty ``folder``, read it back, and compare logits and 128 greedy tokens.

    Raises:
        RequestError: llama.cpp has no architecture with the Thinker's features, or cannot split text as the tokenizer
            does.
        MuomniError: the file does not agree.
    """
    if open_entry(model.entry)[0].part.pretrained is None:  # it does not take weights of the families known there
        raise RequestError(f"llama.cpp knows no Thinker {model.entry['use']}", "export it with --onnx")
    settings = model.config.model_dump(mode="json")
    config = config_of(settings, model.thinker.vocab_size)
    family = str(config["model_type"])
    _require_known(family, settings)
    writer = gguf.GGUFWriter(folder / FILE, gguf.MODEL_ARCH_NAMES[ARCHITECTURES[family]])
    _add_settings(writer, model, config, settings, precision)
    note = add_tokenizer(writer, model)
    _add_tensors(writer, model, family, settings, precision)
    notify(f"writing {sum(p.numel() for p in model.thinker.parameters()):,} parameters in {precision}")
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    if note:
        notify(note)
    parity = _read_back(model, folder / FILE, family, precision)
    if not parity.holds:
        raise MuomniError(f"the file does not agree with PyTorch: {parity.text}; nothing was written", "report it")
    return [ExportedFile(FILE, precision, parity.error, ALLOWED[precision], parity.text)]


def _require_known(family: str, settings: Mapping[str, Any]) -> None:
    """RequestError for what transformers computes and llama.cpp does not."""
    if family == "smollm3":
        known = [layer for layer in range(settings["n_layers"]) if not (layer + 1) % NOPE_EVERY]
        if settings["nope_layers"] != known:
            raise RequestError(
                f"llama.cpp leaves positions out in layers {', '.join(map(str, known))} alone",
                "export it with --hf or --onnx",
            )
    if family != "llama" and {"out", "mlp"} & set(settings["biases"]):
        raise RequestError(f"llama.cpp knows no {family} with these biases", "export it with --hf or --onnx")


def _add_settings(
    writer: gguf.GGUFWriter, model: TextModel, config: Mapping[str, Any], settings: Mapping[str, Any], precision: str
) -> None:
    width = settings["d_head"] or settings["d_model"] // settings["n_heads"]
    writer.add_name(model.name)
    writer.add_type("model")
    writer.add_file_type(KINDS[precision][1])
    writer.add_quantization_version(gguf.GGML_QUANT_VERSION)
    writer.add_vocab_size(model.thinker.vocab_size)
    writer.add_context_length(settings["ctx_len"])
    writer.add_embedding_length(settings["d_model"])
    writer.add_block_count(settings["n_layers"])
    writer.add_feed_forward_length(settings["d_ff"])
    writer.add_head_count(settings["n_heads"])
    writer.add_head_count_kv(config["num_key_value_heads"])
    writer.add_key_length(width)
    writer.add_value_length(width)
    writer.add_rope_dimension_count(width)
    writer.add_layer_norm_rms_eps(settings["norm_eps"])
    writer.add_rope_freq_base(settings["rope_theta"])
    scaling = settings["rope_scaling"]
    if scaling and scaling["kind"] == "linear":
        writer.add_rope_scaling_type(gguf.RopeScalingType.LINEAR)
        writer.add_rope_scaling_factor(scaling["factor"])
    elif scaling and scaling["kind"] == "yarn":
        plain = RopeScaling(kind="yarn", factor=scaling["factor"])
        own = RopeScaling.model_validate(scaling)
        if abs(own.amplitude - plain.amplitude) > 1e-6 or not own.truncate:
            raise RequestError("llama.cpp computes YaRN's amplitude from its factor", "export it with --hf or --onnx")
        writer.add_rope_scaling_type(gguf.RopeScalingType.YARN)
        writer.add_rope_scaling_factor(scaling["factor"])
        writer.add_rope_scaling_orig_ctx_len(scaling["original_ctx_len"])
        writer.add_rope_scaling_yarn_beta_fast(scaling["beta_fast"])
        writer.add_rope_scaling_yarn_beta_slow(scaling["beta_slow"])


def _add_tensors(
    writer: gguf.GGUFWriter, model: TextModel, family: str, settings: Mapping[str, Any], precision: str
) -> None:
    names = gguf.get_tensor_name_map(ARCHITECTURES[family], settings["n_layers"])
    for name, tensor in exported_tensors(model.thinker).items():
        there = names.get_name(name, try_suffixes=(".weight", ".bias"))
        if there is None:
            raise RequestError(f"llama.cpp has no tensor {name} in models of type {family}", "export it with --hf")
        array = _reordered(name, tensor, family, settings).float().numpy()
        kind = KINDS[precision][0] if array.ndim > 1 else gguf.GGMLQuantizationType.F32
        if kind == gguf.GGMLQuantizationType.Q8_0 and array.shape[-1] % 32:
            kind = gguf.GGMLQuantizationType.F16  # its blocks are 32 wide
        writer.add_tensor(there, gguf.quants.quantize(array, kind), raw_dtype=kind)
    scaling = settings["rope_scaling"]
    if scaling and scaling["kind"] == "llama3":
        writer.add_tensor(FREQUENCIES, _divisors(settings, RopeScaling.model_validate(scaling)))


def _divisors(settings: Mapping[str, Any], scaling: RopeScaling) -> NDArray[np.float32]:
    """(Dh/2,) by which llama.cpp divides each plain frequency."""
    width = settings["d_head"] or settings["d_model"] // settings["n_heads"]
    plain = rotary_frequencies(width, settings["rope_theta"])
    own = rotary_frequencies(width, settings["rope_theta"], scaling)
    return np.array([one / other for one, other in zip(plain, own, strict=True)], np.float32)


def _reordered(name: str, tensor: Tensor, family: str, settings: Mapping[str, Any], *, back: bool = False) -> Tensor:
    """Rows of queries and keys as llama.cpp rotates them; other tensors unchanged. ``back``: the other way."""
    if family not in NEIGHBORS or not (".q_proj." in name or ".k_proj." in name):
        return tensor
    heads = settings["n_heads"] if ".q_proj." in name else settings["n_kv_heads"] or settings["n_heads"]
    halves = tensor.reshape(heads, *((-1, 2) if back else (2, -1)), *tensor.shape[1:])
    return halves.transpose(1, 2).reshape(tensor.shape)


def _read_back(model: TextModel, path: Path, family: str, precision: str) -> Agreement:
    """Compare the Thinker with one of the weights in the file."""
    settings = model.config.model_dump(mode="json")
    names = gguf.get_tensor_name_map(ARCHITECTURES[family], settings["n_layers"])
    held = {one.name: one for one in gguf.GGUFReader(path).tensors}
    registered, config = open_entry(model.entry)
    other = build_aside(registered, config, {"vocab_size": model.thinker.vocab_size}).eval()
    with torch.no_grad():
        for name, parameter in other.named_parameters():
            parts = []
            for one, rows in zip(names_of(name), sections_of(other, name), strict=True):
                read = held[str(names.get_name(one, try_suffixes=(".weight", ".bias")))]
                array = gguf.quants.dequantize(read.data, read.tensor_type).astype(np.float32)
                shaped = torch.from_numpy(array.copy()).reshape(rows, *parameter.shape[1:])
                parts.append(_reordered(one, shaped, family, settings, back=True))
            parameter.copy_(torch.cat(parts))
    return compare_text_models(model.thinker, lambda ids: other(ids).logits, precision)
