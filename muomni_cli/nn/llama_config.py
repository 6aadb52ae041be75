"""``config.json`` of Hugging Face checkpoints of Llama's kind, as settings of the Thinker ``transformer``, and back.
Imports no torch: recipes read it.

Settings are plain data, by the names in the config of the Thinker ``transformer``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from muomni_cli.core.errors import RequestError
from muomni_cli.nn.checkpoint_files import CONFIG, damaged, read_json

FAMILIES: Mapping[str, Mapping[str, Any]] = {  # model_type -> what its config.json may leave out
    "llama": {"max_position_embeddings": 2048},
    "mistral": {"max_position_embeddings": 131072, "sliding_window": 4096},
    "qwen2": {"max_position_embeddings": 32768},
    "qwen3": {"max_position_embeddings": 32768, "head_dim": 128},
    "smollm3": {"max_position_embeddings": 32768, "rope_theta": 2_000_000.0, "tie_word_embeddings": True},
}
NEEDED = ("hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "vocab_size")
SIZES = ("d_model", "n_layers", "n_heads", "d_ff")  # settings that a recipe states if it was resolved


@dataclass(frozen=True, slots=True)
class CheckpointConfig:
    """What ``config.json`` says: the family (``model_type``), settings, rows of the table, and remarks for the user."""

    family: str
    settings: Mapping[str, Any]
    vocab_size: int
    notes: tuple[str, ...]


def read_config(folder: Path) -> CheckpointConfig:
    """Read ``config.json``. RequestError if it is missing or damaged, or names all that is not supported."""
    path = folder / CONFIG
    config = read_json(path)
    try:
        return settings_of(config)
    except RequestError as error:
        raise RequestError(f"{path}: {error.what}", error.fix) from error
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise damaged(path, error) from error


def settings_of_recipe(values: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """A recipe's table, completed by the settings of the checkpoint in ``folder``. ValueError if it cannot be read,
    unless the table states all sizes itself."""
    try:
        found = read_config(folder).settings
    except RequestError as error:
        if all(name in values for name in SIZES):  # a resolved recipe, whose weights have been loaded
            return dict(values)
        raise ValueError(f"{error.what}; {error.fix}") from error
    return {**found, **values}


def settings_of(config: Mapping[str, Any]) -> CheckpointConfig:
    """The settings of a parsed ``config.json``. RequestError if something in it is not supported; KeyError, TypeError
    or ValueError if it is damaged."""
    family = str(config.get("model_type"))
    if family not in FAMILIES:
        raise RequestError(
            f"models of type {family!r} are not supported", f"supported types: {', '.join(sorted(FAMILIES))}"
        )
    config = {**FAMILIES[family], **config}
    for name in NEEDED:
        if not isinstance(config.get(name), int):
            raise ValueError(f"{name} is {config.get(name)!r}")
    heads, layers = int(config["num_attention_heads"]), int(config["num_hidden_layers"])
    rope, unsupported = _rope(config)
    unsupported += _unsupported(config, family)
    if unsupported:
        raise RequestError(
            f"not supported: {'; '.join(unsupported)}", "use another checkpoint: the weights were not read"
        )
    context, notes = int(config["max_position_embeddings"]), []
    window = _window(config, family, layers)
    if window is not None and window < context:
        notes.append(f"attention sees the last {window:,} tokens alone, so the context ends there, not at {context:,}")
        context = window
    settings: dict[str, Any] = {
        "d_model": int(config["hidden_size"]),
        "n_layers": layers,
        "n_heads": heads,
        "n_kv_heads": int(config.get("num_key_value_heads") or heads),
        "d_ff": int(config["intermediate_size"]),
        "ctx_len": context,
        **rope,
        "tie_embeddings": bool(config.get("tie_word_embeddings", False)),
        "qk_norm": family == "qwen3",
        "norm_eps": float(config.get("rms_norm_eps", 1e-6)),
        "biases": _biases(config, family),
        "nope_layers": _nope_layers(config, layers) if family == "smollm3" else [],
    }
    width = config.get("head_dim") if family in ("llama", "mistral", "qwen3") else None
    if width and int(width) * heads != settings["d_model"]:
        settings["d_head"] = int(width)
    return CheckpointConfig(family, settings, int(config["vocab_size"]), tuple(notes))


def _biases(config: Mapping[str, Any], family: str) -> list[str]:
    if family == "qwen2":
        return ["qkv"]
    names = ["qkv", "out"] if config.get("attention_bias") and family != "mistral" else []
    return [*names, "mlp"] if config.get("mlp_bias") and family in ("llama", "smollm3") else names


def _nope_layers(config: Mapping[str, Any], layers: int) -> list[int]:
    rotary = config.get("no_rope_layers")
    if rotary is None:
        every = int(config.get("no_rope_layer_interval") or 4)
        return [layer for layer in range(layers) if not (layer + 1) % every]
    return [layer for layer, turns in enumerate(rotary[:layers]) if not turns]


def _window(config: Mapping[str, Any], family: str, layers: int) -> int | None:
    """The tokens that some layer's attention sees, if it does not see all."""
    window = config.get("sliding_window")
    if window is None or family == "llama":
        return None
    used = family == "mistral" or bool(config.get("use_sliding_window"))
    if family in ("qwen2", "qwen3"):
        kinds = config.get("layer_types")
        first = int(config.get("max_window_layers", 28))
        used &= "sliding_attention" in kinds if kinds else first < layers
    return int(window) if used else None


def _unsupported(config: Mapping[str, Any], family: str) -> list[str]:
    found = []
    if (activation := config.get("hidden_act", "silu")) != "silu":
        found.append(f"hidden_act {activation!r} (silu is)")
    if config.get("quantization_config"):
        found.append("quantized weights (quantization_config)")
    kinds = set(config.get("layer_types") or ()) - {"full_attention", "sliding_attention"}
    if kinds:
        found.append(f"layers of type {', '.join(sorted(map(str, kinds)))}")
    if config.get("is_encoder_decoder") or config.get("add_cross_attention"):
        found.append("cross-attention")
    if family == "mistral" and config.get("attention_bias"):
        found.append("attention_bias of mistral")
    return found


def _rope(config: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """``rope_theta`` and ``rope_scaling``, from ``rope_parameters`` (transformers 5) or the older pair of keys; and
    what is not supported in them."""
    given = config.get("rope_parameters") or config.get("rope_scaling") or {}
    if any(isinstance(value, dict) for value in given.values()):
        return {}, ["rotary positions that differ between layers (rope_parameters)"]
    kind = str(given.get("rope_type", given.get("type", "default")))
    theta = float(given.get("rope_theta") or config.get("rope_theta") or 10000.0)
    partial = float(given.get("partial_rotary_factor") or config.get("partial_rotary_factor") or 1.0)
    unsupported = [f"partial_rotary_factor {partial:g}"] if partial != 1.0 else []
    if kind == "default":
        return {"rope_theta": theta}, unsupported
    context = int(config["max_position_embeddings"])
    original = int(given.get("original_max_position_embeddings") or context)
    scaling: dict[str, Any] = {"kind": kind, "factor": float(given.get("factor") or context / original)}
    if kind == "llama3":
        scaling |= {
            "original_ctx_len": original,
            "low_freq_factor": float(given["low_freq_factor"]),
            "high_freq_factor": float(given["high_freq_factor"]),
        }
    elif kind == "yarn":
        scaling |= {"original_ctx_len": original, "truncate": bool(given.get("truncate", True))}
        scaling |= {name: float(given[name]) for name in ("beta_fast", "beta_slow") if given.get(name)}
        scaling["attention_factor"] = _attention_factor(given, scaling["factor"])
    elif kind != "linear":
        return {}, [*unsupported, f"rotary scaling of type {kind!r} (linear, llama3 and yarn are)"]
    return {"rope_theta": theta, "rope_scaling": scaling}, unsupported


def _attention_factor(given: Mapping[str, Any], factor: float) -> float:
    def magnitude(scale: float) -> float:
        return 0.1 * scale * math.log(factor) + 1.0 if factor > 1 else 1.0

    if given.get("attention_factor") is not None:
        return float(given["attention_factor"])
    if given.get("mscale") and given.get("mscale_all_dim"):
        return magnitude(float(given["mscale"])) / magnitude(float(given["mscale_all_dim"]))
    return magnitude(1.0)


def config_of(settings: Mapping[str, Any], vocab_size: int) -> dict[str, Any]:
    """A ``config.json`` that transformers opens as the same model. ``settings``: all of a ``TransformerConfig``, as
    JSON. RequestError if no family has all of its features."""
    biases, width = frozenset(settings["biases"]), settings["d_head"] or settings["d_model"] // settings["n_heads"]
    own_width = width * settings["n_heads"] != settings["d_model"]
    family = _family(settings, biases, own_width=own_width)
    config: dict[str, Any] = {
        "architectures": [ARCHITECTURES[family]],
        "model_type": family,
        "vocab_size": vocab_size,
        "hidden_size": settings["d_model"],
        "intermediate_size": settings["d_ff"],
        "num_hidden_layers": settings["n_layers"],
        "num_attention_heads": settings["n_heads"],
        "num_key_value_heads": settings["n_kv_heads"] or settings["n_heads"],
        "hidden_act": "silu",
        "max_position_embeddings": settings["ctx_len"],
        "rms_norm_eps": settings["norm_eps"],
        "rope_theta": settings["rope_theta"],  # of transformers 4, and of other readers
        "rope_parameters": _rope_parameters(settings),
        "tie_word_embeddings": settings["tie_embeddings"],
        "attention_dropout": 0.0,
    }
    if family in ("llama", "qwen3"):
        config["head_dim"] = width
    if family in ("llama", "qwen3", "smollm3"):
        config["attention_bias"] = "qkv" in biases
    if family in ("llama", "smollm3"):
        config["mlp_bias"] = "mlp" in biases
    if family == "smollm3":
        config["no_rope_layers"] = [int(layer not in settings["nope_layers"]) for layer in range(settings["n_layers"])]
    if family != "llama":
        config |= {"use_sliding_window": False, "sliding_window": None}
    if settings["rope_scaling"]:
        config["rope_scaling"] = {k: v for k, v in config["rope_parameters"].items() if k != "rope_theta"}
    return config


ARCHITECTURES = {
    "llama": "LlamaForCausalLM",
    "qwen2": "Qwen2ForCausalLM",
    "qwen3": "Qwen3ForCausalLM",
    "smollm3": "SmolLM3ForCausalLM",
}


def _family(settings: Mapping[str, Any], biases: frozenset[str], *, own_width: bool) -> str:
    """The family that has all features of ``settings``. RequestError if none has."""
    both = biases >= {"qkv", "out"} or not biases & {"qkv", "out"}
    if settings["nope_layers"]:
        if both and not settings["qk_norm"] and not own_width:
            return "smollm3"
    elif settings["qk_norm"]:
        if both and "mlp" not in biases:
            return "qwen3"
    elif both:
        return "llama"
    elif biases == {"qkv"} and not own_width:
        return "qwen2"
    features = [name for name in ("qk_norm", "nope_layers", "biases", "d_head") if settings[name]]
    raise RequestError(
        f"no family of models in this format has {', '.join(features)} together",
        "export to ONNX, or train a Thinker with one of them alone",
    )


def _rope_parameters(settings: Mapping[str, Any]) -> dict[str, Any]:
    scaling = settings["rope_scaling"]
    if not scaling:
        return {"rope_type": "default", "rope_theta": settings["rope_theta"]}
    found = {"rope_type": scaling["kind"], "rope_theta": settings["rope_theta"], "factor": scaling["factor"]}
    names = {"llama3": ("low_freq_factor", "high_freq_factor"), "yarn": ("beta_fast", "beta_slow", "truncate")}
    if scaling["kind"] in names:
        found["original_max_position_embeddings"] = scaling["original_ctx_len"]
        found |= {name: scaling[name] for name in names[scaling["kind"]]}
    if scaling["kind"] == "yarn" and scaling["attention_factor"] is not None:
        found["attention_factor"] = scaling["attention_factor"]
    return found
