"""Names of stages and of tables of a recipe."""

from __future__ import annotations

STAGES = ("tokenizer", "thinker", "image", "audio", "codec", "talker", "vocoder", "omni", "dpo", "talker_dpo")
"""Names of ``[train.<stage>]``, in addition to the modalities of ``[encoders.<modality>]``."""

SLOTS = ("tokenizer", "thinker", "talker", "codec", "vocoder")
"""Tables that select one part of the kind of the same name."""

SPEECH = "speech"  # data table (audio with transcripts) of all speech stages
SPEAKING = ("codec", "vocoder", "talker")  # speech stages
SOUND = "audio"  # the modality of speech
OMNI = "omni"  # the stage that trains the Thinker and the encoders together
DPO, TALKER_DPO = "dpo", "talker_dpo"  # the stages that tune the Thinker and the Talker on pairs
PAIRED = (DPO, TALKER_DPO)
TUNED = {OMNI: DPO, "talker": TALKER_DPO}
"""Stage -> the one on pairs whose checkpoint takes the place of its own; that of ``dpo`` has the form of ``omni``."""
