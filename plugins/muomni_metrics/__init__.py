"""The plugin: which metrics ``muomni eval`` computes for which stage."""

from muomni_cli.api import MetricSet, hookimpl

METRICS = "muomni_cli.eval"  # the package that computes them


@hookimpl
def register_metrics() -> list[MetricSet]:
    return [
        MetricSet(
            name="answers",
            doc="accuracy of an encoder on the examples of its own stage, by source",
            stages=(MetricSet.ENCODERS,),
            make=f"{METRICS}.encoders:encoder_metrics",
        ),
        MetricSet(
            name="commands",
            doc="commands that an encoder with a grammar hears, and their slots, by source",
            stages=(MetricSet.ENCODERS,),
            make=f"{METRICS}.commands:command_metrics",
        ),
        MetricSet(
            name="conversations",
            doc="answers about images and audio, and to the same questions with these swapped",
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
            doc="word error rates, spectral distances and durations of codec, vocoder and Talker",
            stages=("codec", "vocoder", "talker"),
            make=f"{METRICS}.speech:speech_metrics",
        ),
    ]
