"""``config.yaml`` of a Vocos as settings of the vocoder here. Imports no torch: recipes read it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from muomni_cli.api import RequestError
from muomni_cli.nn.checkpoint_files import damaged, read_table
from muomni_transformers.mels import OF_VOCOS

CONFIG = "config.yaml"
CLASSES = {  # table -> the class that is supported
    "feature_extractor": "MelSpectrogramFeatures",
    "backbone": "VocosBackbone",
    "head": "ISTFTHead",
}


def vocos_settings(folder: Path) -> dict[str, Any]:
    """Settings of the vocoder in ``folder``. RequestError if the file is missing or damaged, or asks for what is not
    supported."""
    path = folder / CONFIG
    tables = read_table(path, _parse, "name a folder with a Vocos: config.yaml and model.safetensors")
    try:
        found, unsupported = _settings(tables)
    except (TypeError, ValueError, KeyError, AttributeError) as error:
        raise damaged(path, error) from error
    if unsupported:
        what = f"{folder}: not supported: {'; '.join(unsupported)}"
        raise RequestError(what, "use another checkpoint: the weights were not read")
    return found


def _parse(text: str) -> Any:
    import yaml

    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ValueError(" ".join(str(error).split())[:200]) from error


def _settings(tables: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    unsupported = []
    for table, wanted in CLASSES.items():
        name = str(tables[table]["class_path"]).rpartition(".")[2]
        if name != wanted:
            unsupported.append(f"the {table.replace('_', ' ')} {name}")
    if unsupported:
        return {}, unsupported
    features, backbone, head = (tables[table].get("init_args") or {} for table in CLASSES)
    if backbone.get("adanorm_num_embeddings"):
        unsupported.append("normalization by bandwidth")
    for what, inner, usual in (("log-mel", features, "center"), ("transform", head, "same")):
        if (padding := inner.get("padding", usual)) != "center":
            unsupported.append(f"padding {padding} of the {what}")
    size, hop = int(features.get("n_fft", 1024)), int(features.get("hop_length", 256))
    if (int(head["n_fft"]), int(head["hop_length"]), int(head["dim"])) != (size, hop, int(backbone["dim"])):
        unsupported.append("a head of other sizes than the log-mel and the backbone")
    mel = OF_VOCOS.model_dump() | {
        "sample_rate": int(features.get("sample_rate", 24_000)),
        **{"n_fft": size, "window": size, "hop": hop, "n_mels": int(features.get("n_mels", 100))},
    }
    if int(backbone["input_channels"]) != mel["n_mels"]:
        unsupported.append(f"a backbone of {backbone['input_channels']} channels for {mel['n_mels']} mel bins")
    names = {"dim": "channels", "num_layers": "layers", "intermediate_dim": "hidden"}
    return {**{ours: int(backbone[theirs]) for theirs, ours in names.items()}, "mel": mel}, unsupported
