"""Registers the audio encoder. Imported by every listing, so it must not import torch or numpy."""

from muomni_audio_encoder.config import AudioEncoderConfig
from muomni_cli.api import EncoderPart, hookimpl


@hookimpl
def register_encoders() -> list[EncoderPart]:
    return [
        EncoderPart(
            name="listener",
            doc="log-mel front end, two strided convolutions and a transformer; 25 tokens a second",
            modality="audio",
            config=AudioEncoderConfig,
            build="muomni_audio_encoder.model:build",
            graphs="muomni_audio_encoder.graphs:graphs",
            runner="muomni_audio_encoder.runtime:RecognizerRunner",
            steps="muomni_audio_encoder.graphs:steps",
            objective="muomni_audio_encoder.objective:CtcObjective",
            read="muomni_cli.audio.io:read",
            num_tokens="muomni_audio_encoder.runtime:count",
            cache_fields=frozenset({"sample_rate", "max_seconds", "shortest"}),
            read_chunks="muomni_cli.audio.io:pieces",
            transcribe="muomni_audio_encoder.recognizer:build",
            predictor="muomni_audio_encoder.recognizer:build_predictor",
            head_graphs="muomni_audio_encoder.graphs:head_graphs",
            align="muomni_audio_encoder.recognizer:build",
            bench_inputs="muomni_audio_encoder.runtime:inputs",
            peers={
                "transformers": "muomni_audio_encoder.peer:whisper",
                "transformers-half": "muomni_audio_encoder.peer:whisper_at_our_rate",
            },
            test_config={"n_mels": 32, "channels": 8, "d_model": 32, "n_layers": 2, "n_heads": 2, "d_ff": 64},
            truncatable=True,
        )
    ]
