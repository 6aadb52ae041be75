"""The plugin: the vocoders ``griffin-lim`` and ``vocos``. Imports no torch and no numpy."""

from muomni_cli.api import VocoderPart, hookimpl
from muomni_vocoders.config import GriffinLimConfig, VocosConfig


@hookimpl
def register_vocoders() -> list[VocoderPart]:
    return [
        VocoderPart(
            name="griffin-lim",
            doc="Griffin-Lim phase reconstruction, block by block; needs no training",
            config=GriffinLimConfig,
            build="muomni_vocoders.griffin_lim:build",
            test_config={"iterations": 4},
            graphs="muomni_vocoders.graphs:griffin_lim_graphs",
            runner="muomni_vocoders.runtime:GriffinLimRunner",
        ),
        VocoderPart(
            name="vocos",
            doc="ConvNeXt blocks at the rate of the mel, then an inverse Fourier transform; trained on waveforms",
            config=VocosConfig,
            build="muomni_vocoders.vocos:build",
            test_config={"channels": 24, "layers": 2, "hidden": 48, "kernel": 5, "lookahead": 2},
            graphs="muomni_vocoders.graphs:vocos_graphs",
            runner="muomni_vocoders.runtime:VocosRunner",
            objective="muomni_vocoders.objective:VocoderObjective",
        ),
    ]
