"""A motion sensor as one more sense. Knows no torch and no numpy: a listing imports this module."""

from pathlib import Path

from muomni_cli.api import DatasetPart, EncoderPart, RecipeFile, hookimpl
from muomni_motion.config import MotionConfig, QuestionsConfig, RecordingsConfig

FEW = {"people": 1, "val_people": 1, "each": 1, "rate": 25.0, "seconds": 1.5}


@hookimpl
def register_encoders() -> list[EncoderPart]:
    """One encoder."""
    return [
        EncoderPart(
            name="motion",
            doc="strided convolutions over nine axes of a motion sensor",
            modality="motion",
            config=MotionConfig,
            build="muomni_motion.model:build",
            objective="muomni_motion.objective:Activities",
            graphs="muomni_motion.graphs:graphs",
            read="muomni_motion.reading:read",
            num_tokens="muomni_motion.reading:count",
            cache_fields=frozenset({"rate", "max_seconds", "max_bytes"}),
            predictor="muomni_motion.model:build_predictor",
            runner="muomni_motion.running:RunNaming",
            head_graphs="muomni_motion.graphs:head_graphs",
            bench_inputs="muomni_motion.reading:bench_inputs",
            test_config={"d_model": 16, "halvings": 2},
            max_context_fraction=0.5,
            truncatable=True,
        )
    ]


@hookimpl
def register_datasets() -> list[DatasetPart]:
    """Recordings with what is done in them, and questions about recordings."""
    return [
        DatasetPart(
            name="recordings",
            doc="simulated people with a motion sensor; reads no files",
            config=RecordingsConfig,
            build="muomni_motion.recordings:Recordings",
            test_config=FEW,
        ),
        DatasetPart(
            name="recording-questions",
            doc="questions about simulated recordings, and their answers",
            config=QuestionsConfig,
            build="muomni_motion.recordings:Questions",
            test_config=FEW,
        ),
    ]


@hookimpl
def register_recipes() -> list[RecipeFile]:
    """A small model with this sense."""
    path = Path(__file__).with_name("motion.toml")
    return [RecipeFile(name="motion", doc="answers about what a motion sensor measures; 5 minutes", path=path)]
