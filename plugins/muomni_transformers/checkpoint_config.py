"""``config.json`` and the preprocessor's configuration of a checkpoint, as settings of an encoder here. What is not
supported is named, all at once, before weights are read. Imports no torch: recipes read it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from muomni_cli.api import RequestError
from muomni_cli.nn.checkpoint_files import CONFIG, damaged, read_json
from muomni_transformers.mels import OF_SPEECHT5
from muomni_transformers.vocos_config import vocos_settings

PREPROCESSOR, PROCESSOR = "preprocessor_config.json", "processor_config.json"
TYPES = {  # family -> model types of its checkpoints; the first has a text encoder too, and vision in a table
    "siglip": ("siglip", "siglip_vision_model"),
    "clip": ("clip", "clip_vision_model"),
    "dinov2": ("dinov2",),
    "whisper": ("whisper",),
    "mimi": ("mimi",),
    "encodec": ("encodec",),
    "hifigan": ("hifigan", "speecht5_hifigan", "fastspeech2_conformer_hifigan"),
}
SIZES = {
    "hidden_size": "d_model",
    "num_hidden_layers": "n_layers",
    "num_attention_heads": "n_heads",
    "intermediate_size": "d_ff",
    "image_size": "size",
    "patch_size": "patch",
    "hidden_act": "activation",
    "layer_norm_eps": "norm_eps",
}
HEARING = {
    "d_model": "d_model",
    "encoder_layers": "n_layers",
    "encoder_attention_heads": "n_heads",
    "encoder_ffn_dim": "d_ff",
    "num_mel_bins": "n_mels",
    "max_source_positions": "n_ctx",
    "activation_function": "activation",
}
GENERATOR = {
    "upsample_initial_channel": "channels",
    "upsample_rates": "rates",
    "upsample_kernel_sizes": "kernels",
    "resblock_kernel_sizes": "resblock_kernels",
    "resblock_dilation_sizes": "resblock_dilations",
    "leaky_relu_slope": "slope",
    "normalize_before": "normalized",
}
SEANET = {
    "sampling_rate": "sample_rate",
    "num_filters": "filters",
    "upsampling_ratios": "rates",
    "num_residual_layers": "residual_layers",
    "kernel_size": "kernel",
    "last_kernel_size": "last_kernel",
    "residual_kernel_size": "residual_kernel",
    "dilation_growth_rate": "dilation_growth",
    "compress": "compress",
    "use_conv_shortcut": "shortcut",
    "hidden_size": "d_model",
    "codebook_size": "codebook_size",
}
MIMI = SEANET | {
    "num_hidden_layers": "n_layers",
    "num_attention_heads": "n_heads",
    "intermediate_size": "d_ff",
    "sliding_window": "window",
    "norm_eps": "norm_eps",
    "upsample_groups": "groups",
    "vector_quantization_hidden_dimension": "code_dim",
    "num_quantizers": "trained_codebooks",
    "num_semantic_quantizers": "semantic",
}
ENCODEC = SEANET | {"num_lstm_layers": "lstm_layers", "pad_mode": "padding", "target_bandwidths": "bandwidths"}
EXTRACTOR = {"fmin": "f_min", "fmax": "f_max", "mel_floor": "mel_floor"}
ACTIVATIONS = ("gelu", "gelu_pytorch_tanh", "quick_gelu", "relu", "silu")
RESAMPLE = {1: "lanczos", 2: "bilinear", 3: "bicubic"}  # Pillow's numbers
SQUARE = ("height", "width")


def settings_of(family: str, folder: Path) -> dict[str, Any]:
    """Settings of the encoder in ``folder``, beside which the defaults of its family hold. RequestError if files are
    missing or damaged, or ask for what is not supported."""
    if family == "vocos-checkpoint":
        return vocos_settings(folder)
    path = folder / CONFIG
    config = read_json(path)
    kind = str(config.get("model_type"))
    if kind not in TYPES[family]:
        other = next((name for name, types in TYPES.items() if kind in types), "")
        fix = f'write use = "{other}"' if other else f"name a checkpoint of type {' or '.join(TYPES[family])}"
        raise RequestError(f"{path} is of a model of type {kind!r}, not {family}", fix)
    try:
        read = READERS.get(family, _vision)
        found, unsupported = read(family, config, _preprocessor(folder))
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise damaged(path, error) from error
    if "quantization_config" in config:
        unsupported.append("quantized weights")
    if found.get("activation", "gelu") not in ACTIVATIONS:
        unsupported.append(f"the activation {found['activation']}")
    if unsupported:
        raise RequestError(
            f"{folder}: not supported: {'; '.join(unsupported)}",
            "use another checkpoint: the weights were not read",
        )
    return found


def their_settings(names: Mapping[str, str], config: Any) -> dict[str, Any]:
    """Settings here under the ``names`` of transformers, as arguments of its config."""
    found = {theirs: getattr(config, ours) for theirs, ours in names.items()}
    return {name: list(value) if isinstance(value, tuple) else value for name, value in found.items()}


def _preprocessor(folder: Path) -> Mapping[str, Any]:
    """What is said about preprocessing; empty if nothing is."""
    if (folder / PREPROCESSOR).is_file():
        return read_json(folder / PREPROCESSOR)
    if not (folder / PROCESSOR).is_file():
        return {}
    tables = read_json(folder / PROCESSOR)
    found: Mapping[str, Any] = tables.get("image_processor") or tables.get("feature_extractor") or {}
    return found


def _named(names: Mapping[str, str], config: Mapping[str, Any]) -> dict[str, Any]:
    found = {ours: config[theirs] for theirs, ours in names.items() if config.get(theirs) is not None}
    for theirs, ours in names.items():
        whole = ours not in ("activation", "norm_eps", "size", "patch")
        if whole and ours in found and (not isinstance(found[ours], int) or found[ours] < 1):
            raise ValueError(f"{theirs} is {found[ours]!r}")
    return found


def _vision(family: str, config: Mapping[str, Any], given: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    nested = TYPES[family][0] == config["model_type"] and family != "dinov2"
    table = config.get("vision_config") or {} if nested else config
    found, unsupported = _named(SIZES, table), []
    oblong = [name for name in ("size", "patch") if not isinstance(found.get(name, 1), int)]
    unsupported += [f"pictures or patches that are not square ({found.pop(name)})" for name in oblong]
    if (channels := table.get("num_channels", 3)) != 3:
        unsupported.append(f"pictures of {channels} channels")
    if family == "dinov2":
        unsupported += _dinov2(table, found)
    made, more = _picture(given, int(found.get("size", 224)), family)
    if family != "dinov2" and made.get("size", found.get("size", 224)) != found.get("size", 224):
        more.append(f"pictures of {made['size']} pixels for positions of {found.get('size', 224)}")
    return {**found, **made}, [*unsupported, *more]


def _dinov2(table: Mapping[str, Any], found: dict[str, Any]) -> list[str]:
    found["trained_size"] = found.get("size", 224)  # of its own default; published ones name theirs
    found["d_ff"] = int(found.get("d_model", 768)) * int(table.get("mlp_ratio", 4))
    found["swiglu"] = bool(table.get("use_swiglu_ffn", False))
    return [] if table.get("qkv_bias", True) else ["queries, keys and values without a bias"]


def _picture(given: Mapping[str, Any], size: int, family: str) -> tuple[dict[str, Any], list[str]]:
    """Settings of preprocessing for a square of ``size``, and what is not supported of ``given``."""
    found: dict[str, Any] = {"resize": 0 if family == "siglip" else size, "size": size}
    if not given:
        return found, []
    problems = [
        f"{name} = {str(given[name]).lower()}"
        for name, usual in (("do_resize", True), ("do_rescale", True), ("do_normalize", True), ("do_pad", False))
        if given.get(name) not in (usual, None)
    ]
    if not math.isclose(float(given.get("rescale_factor") or 1 / 255), 1 / 255, rel_tol=1e-6):
        problems.append(f"rescale_factor = {given['rescale_factor']}")
    if (number := given.get("resample")) is not None:
        if number in RESAMPLE:
            found["resample"] = RESAMPLE[number]
        else:
            problems.append(f"resample = {number}")
    found |= {ours: given[name] for name, ours in (("image_mean", "mean"), ("image_std", "std")) if given.get(name)}
    crops = bool(given.get("do_center_crop", family != "siglip"))
    scaled, cut = given.get("size"), given.get("crop_size") if crops else None
    side = _side(cut)
    short = scaled if isinstance(scaled, int) else (scaled or {}).get("shortest_edge")
    if short is not None and side:
        found |= {"resize": int(short), "size": side}
    elif _side(scaled) and short is None and side in (None, _side(scaled)):
        found |= {"resize": 0, "size": _side(scaled)}
    elif scaled is not None or cut is not None:
        problems.append(f"size = {scaled} with crop_size = {cut}")
    return found, problems


def _side(size: Any) -> int | None:
    """The side of a square; None if it is none."""
    if isinstance(size, int):
        return size
    sides = [size.get(name) for name in SQUARE] if isinstance(size, Mapping) else []
    return int(sides[0]) if len(set(sides)) == 1 and sides[0] else None


def _hifigan(
    family: str,  # noqa: ARG001
    config: Mapping[str, Any],
    given: Mapping[str, Any],
) -> tuple[dict[str, Any], list[str]]:
    """``given``: of SpeechT5's feature extractor, which states times in milliseconds."""
    found = {ours: config[theirs] for theirs, ours in GENERATOR.items() if config.get(theirs) is not None}
    rate, hop = int(config.get("sampling_rate", 16_000)), math.prod(map(int, found.get("rates", (4, 4, 4, 4))))
    mel = OF_SPEECHT5.model_dump() | {
        "sample_rate": rate,
        "hop": hop,
        "n_mels": int(config.get("model_in_dim", 80)),
    }
    mel["f_max"] = min(mel["f_max"], rate / 2)
    problems = []
    if given:
        mel |= {ours: float(given[theirs]) for theirs, ours in EXTRACTOR.items() if given.get(theirs) is not None}
        if (window := given.get("win_length")) is not None:
            mel["window"] = int(window) * rate // 1000
            mel["n_fft"] = 2 ** math.ceil(math.log2(mel["window"]))
        ours = {"sampling_rate": rate, "hop_length": hop * 1000 / rate, "num_mel_bins": mel["n_mels"]}
        ours |= {"win_function": "hann_window"}
        problems = [
            f"{name} = {given[name]} of the preprocessor, where the vocoder has {value}"
            for name, value in ours.items()
            if given.get(name, value) != value
        ]
    return {**found, "mel": mel}, problems


def _hearing(
    family: str,  # noqa: ARG001
    config: Mapping[str, Any],
    given: Mapping[str, Any],
) -> tuple[dict[str, Any], list[str]]:
    found = _named(HEARING, config)
    wanted: Sequence[tuple[str, Any]] = (
        ("feature_size", found.get("n_mels", 80)),
        ("sampling_rate", 16_000),
        ("hop_length", 160),
        ("n_fft", 400),
        ("padding_value", 0.0),
        ("dither", 0.0),
        ("do_normalize", False),
        ("chunk_length", found.get("n_ctx", 1500) / 50),
    )
    return found, [
        f"{name} = {given[name]}, not {usual:g}" for name, usual in wanted if given.get(name, usual) != usual
    ]


def _mimi(
    family: str,  # noqa: ARG001
    config: Mapping[str, Any],
    given: Mapping[str, Any],  # noqa: ARG001
) -> tuple[dict[str, Any], list[str]]:
    found = {ours: config[theirs] for theirs, ours in MIMI.items() if config.get(theirs) is not None}
    positions = config.get("rope_parameters") or config.get("rope_scaling") or {}
    found["rope_theta"] = float(positions.get("rope_theta") or config.get("rope_theta") or 10_000)
    width, heads = int(found.get("d_model", 512)), int(found.get("n_heads", 8))
    rate = int(found.get("sample_rate", 24_000)) / (2 * math.prod(map(int, found.get("rates", (8, 6, 5, 4)))))
    usual = {
        "audio_channels": 1, "use_causal_conv": True, "pad_mode": "constant", "trim_right_ratio": 1.0,
        "hidden_act": "gelu", "attention_bias": False, "num_key_value_heads": heads, "head_dim": width // heads,
        "codebook_dim": found.get("code_dim", 256), "frame_rate": rate,
    }  # fmt: skip
    unsupported = [f"{name} = {config[name]}" for name, value in usual.items() if config.get(name, value) != value]
    if positions.get("rope_type", "default") != "default":
        unsupported.append(f"rope_type = {positions['rope_type']}")
    return found, unsupported


def _encodec(
    family: str,  # noqa: ARG001
    config: Mapping[str, Any],
    given: Mapping[str, Any],
) -> tuple[dict[str, Any], list[str]]:
    """``given``: of EnCodec's feature extractor."""
    found = {ours: config[theirs] for theirs, ours in ENCODEC.items() if config.get(theirs) is not None}
    found["bandwidths"] = [float(one) for one in found.get("bandwidths", (1.5, 3.0, 6.0, 12.0, 24.0))]
    usual = {
        "audio_channels": 1, "normalize": False, "chunk_length_s": None, "use_causal_conv": True,
        "norm_type": "weight_norm", "trim_right_ratio": 1.0, "codebook_dim": found.get("d_model", 128),
    }  # fmt: skip
    unsupported = [f"{name} = {config[name]}" for name, value in usual.items() if config.get(name) not in (value, None)]
    if (padding := found.get("padding", "reflect")) not in ("reflect", "constant", "replicate"):
        unsupported.append(f"pad_mode = {padding}")
    wanted = {"sampling_rate": found.get("sample_rate", 24_000), "feature_size": 1, "chunk_length_s": None}
    unsupported += [
        f"{name} = {given[name]} of the preprocessor, where the codec has {value}"
        for name, value in wanted.items()
        if given.get(name) not in (value, None)
    ]
    return found, unsupported


READERS = {"whisper": _hearing, "hifigan": _hifigan, "mimi": _mimi, "encodec": _encodec}
