"""Registers the vision transformer. Imported by every listing, so it must not import torch, numpy or Pillow."""

from muomni_cli.api import EncoderPart, hookimpl
from muomni_vit.config import VitConfig


@hookimpl
def register_encoders() -> list[EncoderPart]:
    return [
        EncoderPart(
            name="vit",
            doc="vision transformer on square patches; gives its CLS token, or its patches pooled to a grid",
            modality="image",
            config=VitConfig,
            build="muomni_vit.model:build",
            objective="muomni_vit.objective:choose",
            graphs="muomni_vit.graphs:graphs",
            steps="muomni_vit.graphs:steps",
            read="muomni_vit.preprocessing:read",
            num_tokens="muomni_vit.preprocessing:count",
            predictor="muomni_vit.objective:build_predictor",
            runner="muomni_vit.runtime:VisionPredictorRunner",
            head_graphs="muomni_vit.graphs:head_graphs",
            bench_inputs="muomni_vit.preprocessing:inputs",
            test_config={"size": 32, "patch": 8, "d_model": 32, "n_layers": 2, "n_heads": 2, "d_ff": 64},
            max_context_fraction=0.5,
            peers={"transformers": "muomni_vit.peer:vit"},
        )
    ]
