"""Vision encoders of transformers with their preprocessing's last step, normalization, inside.

Shapes: B pictures, S pixels a side, G patches a side, T tokens, W width.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
import transformers
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d

from muomni_cli.api import EncoderOutput
from muomni_transformers.plugin import ClipConfig, Dinov2Config, ImageEncoderConfig, SiglipConfig


class VisionEncoder(nn.Module):
    """An :class:`muomni_cli.api.Encoder` of pictures over ``tower``, a model of transformers.

    ``first``: tokens before those of patches. ``ignored``: beginnings of names of a checkpoint's tensors that the tower
    has no use for. ``renamed``: patterns of names there, and what is in place of them in the tower.
    """

    first: ClassVar[int] = 0
    ignored: ClassVar[tuple[str, ...]] = ("text_model.", "logit_")
    renamed: ClassVar[Mapping[str, str]] = {}
    mean: Tensor
    std: Tensor

    def __init__(self, config: ImageEncoderConfig, tower: nn.Module) -> None:
        super().__init__()
        self.config, self.tower = config, tower
        self.register_buffer("mean", torch.tensor(config.mean)[:, None, None], persistent=False)
        self.register_buffer("std", torch.tensor(config.std)[:, None, None], persistent=False)

    @property
    def width(self) -> int:
        return self.config.d_model

    def forward(self, inputs: Tensor, lengths: Sequence[int] | None = None) -> EncoderOutput:  # noqa: ARG002
        """(B,3,S,S) pictures of 0 to 255 -> tokens."""
        tokens = self.tokens(inputs)
        return EncoderOutput(tokens, [tokens.shape[1]] * tokens.shape[0])

    def tokens(self, inputs: Tensor) -> Tensor:
        """(B,3,S,S) pictures of 0 to 255 -> (B,T,W). For export."""
        output: Any = self.tower(self.normalize(inputs))
        if self.config.tokens == "pooled":
            return output.pooler_output[:, None]  # type: ignore[no-any-return]
        return self.pool(output.last_hidden_state[:, self.first :])

    def normalize(self, inputs: Tensor) -> Tensor:
        """(B,3,S,S) pictures of 0 to 255 -> the values that the tower was trained on."""
        return (inputs.float() / 255 - self.mean) / self.std

    def pool(self, patches: Tensor) -> Tensor:
        """(B,G*G,W) patches -> (B,T,W): all of them, or the means of equal squares."""
        config = self.config
        if not isinstance(config.tokens, int) or config.tokens == config.grid:
            return patches
        rows = patches.transpose(1, 2).unflatten(2, (config.grid, config.grid))  # type: ignore[no-untyped-call]
        return avg_pool2d(rows, config.grid // config.tokens).flatten(2).transpose(1, 2)


class SiglipEncoder(VisionEncoder):
    ignored = ("text_model.", "logit_", "head.", "vision_model.head.")

    def __init__(self, config: SiglipConfig) -> None:
        settings = transformers.SiglipVisionConfig(**_sizes(config), vision_use_head=config.tokens == "pooled")
        super().__init__(config, transformers.SiglipVisionModel(settings))


class ClipEncoder(VisionEncoder):
    first = 1
    ignored = (
        "text_model.", "logit_", "visual_projection.", "text_projection.", "embeddings.position_ids",
        "vision_model.embeddings.position_ids",
    )  # fmt: skip

    def __init__(self, config: ClipConfig) -> None:
        super().__init__(config, transformers.CLIPVisionModel(transformers.CLIPVisionConfig(**_sizes(config))))


class Dinov2Encoder(VisionEncoder):
    first = 1
    ignored = ("classifier.", "embeddings.mask_token", "dinov2.embeddings.mask_token")

    def __init__(self, config: Dinov2Config) -> None:
        sizes = _sizes(config)
        settings = transformers.Dinov2Config(
            **{name: value for name, value in sizes.items() if name != "intermediate_size"} | {
                "image_size": config.trained_size,
                "mlp_ratio": config.d_ff // config.d_model,
                "use_swiglu_ffn": config.swiglu,
                "use_mask_token": False,
            }
        )  # fmt: skip
        super().__init__(config, transformers.Dinov2Model(settings))


def _sizes(config: ImageEncoderConfig) -> dict[str, Any]:
    return {
        "hidden_size": config.d_model,
        "num_hidden_layers": config.n_layers,
        "num_attention_heads": config.n_heads,
        "intermediate_size": config.d_ff,
        "image_size": config.size,
        "patch_size": config.patch,
        "hidden_act": config.activation,
        "layer_norm_eps": config.norm_eps,
    }


def build_siglip(config: SiglipConfig) -> SiglipEncoder:
    """SigLIP's vision encoder with random weights from torch's global generator."""
    return SiglipEncoder(config)


def build_clip(config: ClipConfig) -> ClipEncoder:
    """CLIP's vision encoder with random weights from torch's global generator."""
    return ClipEncoder(config)


def build_dinov2(config: Dinov2Config) -> Dinov2Encoder:
    """DINOv2 with random weights from torch's global generator."""
    return Dinov2Encoder(config)
