"""The cards of muomni eval: answers, conversations, text, speech."""

from muomni_cli.api import MetricSet, hookimpl

METRICS = "muomni_cli.eval"
"""The package that computes them."""


@hookimpl
def register_metrics() -> list[MetricSet]:
    """Metrics of encoders, of the omni stage, of the Thinker and of the stages of speech."""
    return [
        MetricSet(
            name="answers",
            doc="answers of an encoder to the examples of its own stage, source by source",
            stages=(MetricSet.ENCODERS,),
            make=f"{METRICS}.encoders:encoder_metrics",
        ),
        MetricSet(
            name="conversations",
            doc="answers about pictures and sounds, and to the same questions with others in their place",
            stages=("omni",),
            make=f"{METRICS}.conversations:conversation_metrics",
        ),
        MetricSet(
            name="text",
            doc="bits per byte of held-out text, with a compressor as the baseline",
            stages=("thinker", "omni"),
            make=f"{METRICS}.encoders:text_metrics",
        ),
        MetricSet(
            name="speech",
            doc="word error rates, spectral distances and lengths of codec, vocoder and Talker",
            stages=("codec", "vocoder", "talker"),
            make=f"{METRICS}.speech:speech_metrics",
        ),
    ]
