"""The cards of muomni eval: answers, conversations, text, speech."""

from muomni_cli.api import Cards, hookimpl

METRICS = "muomni_cli.eval"
"""The package that computes them."""


@hookimpl
def register_cards() -> list[Cards]:
    """Metrics of encoders, of the omni stage, of the Thinker and of the stages of speech."""
    return [
        Cards(
            name="answers",
            doc="answers of an encoder to the examples of its own stage, source by source",
            stages=(Cards.ENCODERS,),
            make=f"{METRICS}.encoders:encoder_metrics",
        ),
        Cards(
            name="conversations",
            doc="answers about pictures and sounds, and to the same questions with others in their place",
            stages=("omni",),
            make=f"{METRICS}.conversations:conversation_metrics",
        ),
        Cards(
            name="text",
            doc="bits per byte of held-out text, with a compressor as the baseline",
            stages=("thinker", "omni"),
            make=f"{METRICS}.encoders:text_metrics",
        ),
        Cards(
            name="speech",
            doc="word error rates, spectral distances and lengths of codec, vocoder and Talker",
            stages=("codec", "vocoder", "talker"),
            make=f"{METRICS}.speech:speech_metrics",
        ),
    ]
