"""What this package offers to muomni. Knows no torch and no numpy: a listing imports this module."""

from muomni_cli.api import EncoderPart, hookimpl
from muomni_listener.config import ListenerConfig


@hookimpl
def register_encoders() -> list[EncoderPart]:
    """The encoders of this package."""
    return [
        EncoderPart(
            name="listener",
            doc="log-mel front end, two strided convolutions and a transformer; 25 tokens a second",
            modality="audio",
            config=ListenerConfig,
            build="muomni_listener.model:build",
            graphs="muomni_listener.graphs:graphs",
            runs="muomni_listener.running:RunRecognizer",
            steps="muomni_listener.steps:steps",
            objective="muomni_listener.objective:Spelling",
            read="muomni_cli.sound.reading:read",
            count="muomni_listener.counting:count",
            reads=frozenset({"sample_rate", "max_seconds", "shortest"}),
            pieces="muomni_cli.sound.reading:pieces",
            transcribe="muomni_listener.recognizer:build",
            answer="muomni_listener.recognizer:answering",
            head_graphs="muomni_listener.graphs:head_graphs",
            align="muomni_listener.recognizer:build",
            bench_inputs="muomni_listener.bench:inputs",
            peers={
                "transformers": "muomni_listener.peer:whisper",
                "transformers-half": "muomni_listener.peer:whisper_at_our_rate",
            },
            small={"n_mels": 32, "channels": 8, "d_model": 32, "n_layers": 2, "n_heads": 2, "d_ff": 64},
            in_time=True,
        )
    ]
