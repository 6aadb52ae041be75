"""Tiny checkpoints of encoders with random weights and their preprocessors, as transformers writes them."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

os.environ.setdefault("HF_HUB_OFFLINE", "1")
Checkpoint = Callable[..., Path]

VISION = {
    "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 2, "image_size": 32,
    "patch_size": 8,
}  # fmt: skip
TEXT = {
    "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 1, "num_attention_heads": 2, "vocab_size": 50,
    "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0,
}  # fmt: skip
HEARING = {
    "d_model": 32, "encoder_layers": 2, "decoder_layers": 1, "encoder_attention_heads": 2,
    "decoder_attention_heads": 2, "encoder_ffn_dim": 48, "decoder_ffn_dim": 48, "max_source_positions": 100,
    "num_mel_bins": 80, "vocab_size": 60, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2,
    "decoder_start_token_id": 1,
}  # fmt: skip
BIT = {"size": {"shortest_edge": 36}, "crop_size": {"height": 32, "width": 32}}
IMAGENET = {"image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225]}


def model_of(family: str) -> Any:
    """The model of a family that its authors publish: with a text encoder or a decoder, where there is one."""
    import transformers as t

    if family == "siglip":
        return t.SiglipModel(t.SiglipConfig(vision_config=VISION, text_config=TEXT))
    if family == "clip":
        return t.CLIPModel(t.CLIPConfig(vision_config=VISION, text_config=TEXT))
    if family == "dinov2":
        settings = {name: value for name, value in VISION.items() if name != "intermediate_size"}
        return t.Dinov2Model(t.Dinov2Config(**{**settings, "image_size": 48}, mlp_ratio=2))
    if family == "siglip, vision alone":
        return t.SiglipVisionModel(t.SiglipVisionConfig(**VISION))
    return t.WhisperForConditionalGeneration(t.WhisperConfig(**HEARING))


def processor_of(family: str) -> Any:
    """transformers' own preprocessor of a family, as it is without torchvision."""
    from transformers.models.bit.image_processing_pil_bit import BitImageProcessorPil
    from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil
    from transformers.models.siglip.image_processing_pil_siglip import SiglipImageProcessorPil
    from transformers.models.whisper.feature_extraction_whisper import WhisperFeatureExtractor

    if family.startswith("siglip"):
        half = [0.5, 0.5, 0.5]
        return SiglipImageProcessorPil(size={"height": 32, "width": 32}, image_mean=half, image_std=half)
    if family == "clip":
        return CLIPImageProcessorPil(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32})
    if family == "dinov2":
        return BitImageProcessorPil(**BIT, **IMAGENET)
    return WhisperFeatureExtractor(chunk_length=2)


def tower_of(model: Any) -> Any:
    """The encoder inside a model."""
    if hasattr(model, "vision_model"):
        return model.vision_model
    return model.get_encoder() if hasattr(model, "get_encoder") and hasattr(model, "proj_out") else model


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    """``checkpoint(family)`` -> a folder with its model and preprocessor. Made once; it is not to be changed."""
    made: dict[str, Path] = {}

    def make(family: str) -> Path:
        if family not in made:
            import torch
            from transformers.utils import logging

            logging.disable_progress_bar()
            torch.manual_seed(3)
            model, made[family] = model_of(family), tmp_path_factory.mktemp("checkpoint")
            with torch.no_grad():
                for tensor in model.parameters():
                    tensor.normal_(std=0.15) if tensor.ndim > 1 else tensor.add_(0.1 * torch.randn_like(tensor))
            model.save_pretrained(made[family])
            processor_of(family).save_pretrained(made[family])
        return made[family]

    return make
