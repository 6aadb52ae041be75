"""The log-mels that published vocoders were trained on. Imports no torch: listings read it."""

from __future__ import annotations

from muomni_cli.api import MelConfig

OF_SPEECHT5 = MelConfig(
    sample_rate=16_000,
    n_fft=1024,
    window=1024,
    hop=256,
    n_mels=80,
    f_min=80,
    f_max=7600,
    mel_floor=1e-10,
    mel_clip=True,
    spectrum="magnitude",
    filters="slaney",
    log="log10",
    padding="reflect",
)
OF_VOCOS = MelConfig(
    sample_rate=24_000,
    n_fft=1024,
    window=1024,
    hop=256,
    n_mels=100,
    mel_floor=1e-7,
    mel_clip=True,
    spectrum="magnitude",
    padding="reflect",
)
