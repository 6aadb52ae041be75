"""Registers the parts of this package. Every command imports this module, so it must not import torch or numpy."""

from pathlib import Path

from muomni_cli.api import DatasetPart, EncoderPart, RecipeFile, hookimpl
from muomni_newpart.config import CurvesConfig, NewpartConfig, QuestionsConfig

FEW = {"count": 8, "val_count": 4, "lines": 16}
"""Settings of the sources in conformance checks."""


@hookimpl
def register_encoders() -> list[EncoderPart]:
    return [
        EncoderPart(
            name="newpart",
            doc="strided convolutions over lines of numbers",
            modality="newpart",
            config=NewpartConfig,
            build="muomni_newpart.model:build",
            objective="muomni_newpart.objective:ClassificationObjective",
            graphs="muomni_newpart.graphs:graphs",
            read="muomni_newpart.preprocessing:read",
            num_tokens="muomni_newpart.preprocessing:count",
            cache_fields=frozenset({"channels", "max_lines", "max_bytes"}),
            predictor="muomni_newpart.model:build_predictor",
            runner="muomni_newpart.runtime:ClassifierRunner",
            head_graphs="muomni_newpart.graphs:head_graphs",
            bench_inputs="muomni_newpart.preprocessing:bench_inputs",
            test_config={"d_model": 16, "halvings": 2},
            max_context_fraction=0.5,
            truncatable=True,
        )
    ]


@hookimpl
def register_datasets() -> list[DatasetPart]:
    """Sample data; replace it by your own."""
    return [
        DatasetPart(
            name="newpart-curves",
            doc="generated curves that rise, fall, step or wave",
            config=CurvesConfig,
            build="muomni_newpart.curves:Curves",
            test_config=FEW,
        ),
        DatasetPart(
            name="newpart-questions",
            doc="questions about such curves, and their answers",
            config=QuestionsConfig,
            build="muomni_newpart.curves:Questions",
            test_config=FEW,
        ),
    ]


@hookimpl
def register_recipes() -> list[RecipeFile]:
    path = Path(__file__).with_name("newpart.toml")
    return [RecipeFile(name="newpart", doc="answers about curves; a minute or two", path=path)]
