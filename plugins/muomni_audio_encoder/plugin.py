"""The audio encoder: settings and registration. Every listing imports this module, so it imports no torch or numpy."""

from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import BeforeValidator, Field, NonNegativeFloat, model_validator

from muomni_cli.api import (
    Depth,
    EncoderPart,
    Factor,
    MelConfig,
    PartConfig,
    RequestError,
    Width,
    expand_path,
    hookimpl,
)
from muomni_cli.structured_output.command_grammar import CommandGrammar, parse_grammar, read_grammar

Decibels = Annotated[float, Field(ge=-200, le=200)]


def _read_grammar(given: Any) -> Any:
    """A path as the grammar in its file, so that a model carries its grammar with it."""
    if given is None or isinstance(given, CommandGrammar):
        return given
    if not isinstance(given, str):
        return parse_grammar(given)
    try:
        return read_grammar(expand_path(given))
    except RequestError as error:
        raise ValueError(f"{error.what}; {error.fix}") from error


Grammar = Annotated[
    CommandGrammar | None, BeforeValidator(_read_grammar, json_schema_input_type=str | CommandGrammar | None)
]


class AudioAugmentConfig(PartConfig):
    """Audio augmentation in the encoder's own training, drawn anew in every step: speed (and pitch), silence, loudness,
    noise or another sound in the background, and masked stripes of the log-mel."""

    speed: float = Field(0.1, ge=0, le=0.5, description="largest change of speed and pitch; 0.1: from 0.9 to 1.1 times")
    shift: NonNegativeFloat = Field(0.1, le=10, description="longest silence added before and after, in seconds")
    gain: NonNegativeFloat = Field(10.0, le=40, description="largest change of loudness, in dB")
    noise: float = Field(0.5, ge=0, le=1, description="share of sounds with noise added, of any colour")
    noise_level: tuple[Decibels, Decibels] = Field(
        (5.0, 30.0), description="signal-to-noise ratio in dB: lowest and highest"
    )
    babble: float = Field(0.1, ge=0, le=1, description="share of sounds with another one in the background")
    crowd: int = Field(1, ge=1, le=20, description="most sounds at a time in that background")
    babble_level: tuple[Decibels, Decibels] = Field(
        (10.0, 30.0), description="how far the other sound lies below, in dB: lowest and highest"
    )
    of_speech: bool = Field(
        False, description="count levels of noise and babble from the loudest eighth of a second, not the whole sound"
    )  # fmt: skip
    hum: float = Field(0.0, ge=0, le=1, description="share of sounds with the hum of a machine, at noise_level")
    room: float = Field(0.0, ge=0, le=1, description="share of sounds with the reverberation of a made room")
    color: float = Field(0.0, ge=0, le=1, description="share of sounds through another microphone's frequency response")
    color_range: NonNegativeFloat = Field(9.0, le=40, description="largest deviation of that response, in dB")
    clip: float = Field(0.0, ge=0, le=1, description="share of sounds whose peaks are cut off")
    pauses: float = Field(0.0, ge=0, le=1, description="share of sounds with longer pauses between their words")
    pause_seconds: float = Field(1.0, gt=0, le=60, description="longest addition to a pause, in seconds")
    join: float = Field(0.0, ge=0, le=1, description="share of sounds followed by another, whose text is learned too")
    join_seconds: float = Field(14.0, gt=0, le=3600, description="longest sound that is made so, in seconds")
    narrow: float = Field(0.0, ge=0, le=1, description="share of sounds low-passed at 4 kHz, as by a telephone")
    time_masks: int = Field(2, ge=0, le=1024, description="time masks of the log-mel (arXiv:1904.08779)")
    time_width: float = Field(0.1, ge=0, le=1, description="widest time mask, as a share of the sound")
    time_seconds: float = Field(0.4, gt=0, le=3600, description="upper limit of the widest time mask, in seconds")
    bin_masks: int = Field(2, ge=0, le=1024, description="frequency masks of the log-mel")
    bin_width: float = Field(0.15, ge=0, le=1, description="widest frequency mask, as a share of the bins")

    @model_validator(mode="after")
    def _levels_rise(self) -> Self:
        for name, (low, high) in (("noise_level", self.noise_level), ("babble_level", self.babble_level)):
            if low > high:
                raise ValueError(f"{name} begins at {low:g} dB, above its end, {high:g} dB")
        return self


def halved(count: int) -> int:
    """Output frames of a convolution of stride 2."""
    return (count + 1) // 2


class AudioEncoderConfig(MelConfig):
    """Sizes of :class:`muomni_audio_encoder.model.AudioEncoder`; the defaults give 2,209,088 parameters.

    Convolutions 1 -> 64 -> 64 of 3 x 3 (640 + 36,928), Linear 2048 -> 192 (393,408), four blocks of 444,480 and a final
    RMSNorm (192). A block has two RMSNorms (384), queries, keys, values and output (4 x 37,056), and an MLP 192 -> 768
    -> 192 (295,872). Convolutions and linear layers have biases; rotary positions have no parameters. The projector to
    the Thinker's width belongs to the host and is not counted.
    """

    training_only: ClassVar[frozenset[str]] = frozenset({"dropout", "augment"})

    sample_rate: int = Field(
        16000, ge=4000, le=48000, description="sample rate of the encoder in Hz; files are resampled"
    )
    mel_mean: float = Field(-5.0, ge=-1e3, le=1e3, description="subtracted from the log-mel")
    mel_scale: Factor = Field(4.0, description="divides the log-mel after mel_mean is subtracted")
    channels: Width = Field(64, description="channels of the convolutions")
    downsample: Literal[4, 8] = Field(4, description="mel frames a token: 4 gives 25 tokens a second, 8 gives 12.5")
    d_model: Width = Field(192, description="width W of the tokens")
    n_layers: Depth = Field(4, description="blocks of attention and MLP")
    n_heads: Depth = Field(3, description="attention heads; each is d_model / n_heads wide")
    d_ff: Width = Field(768, description="width of the MLP's hidden layer")
    rope_theta: Factor = Field(10000.0, description="base of the rotary wavelengths")
    kernel: int = Field(
        0, ge=0, le=255, description="width of the blocks' convolutions over time, odd; 0: blocks have none"
    )
    loudness: bool = Field(
        True, description="whether the level of a sound matters; false: its log-mel is relative to its mean power"
    )
    dropout: float = Field(0.0, ge=0, lt=1, description="share of each branch's output dropped in training")
    norm_eps: Factor = Field(1e-5, description="added to the mean square inside RMSNorm")
    characters: str = Field(
        " 'abcdefghijklmnopqrstuvwxyz", min_length=1, description="alphabet of transcripts, one class per character"
    )
    grammar: Grammar = Field(
        None, description="commands to listen for, as a path of a TOML or JSON file or as its content: the model then "
        "answers a recording with the intent and slots, as JSON"
    )  # fmt: skip
    max_seconds: float = Field(60.0, gt=0, le=3600, description="longest sound that is read from one file")
    level: tuple[Decibels, Decibels] | None = Field(
        None, description="speech quieter than the first is raised to it, louder than the second lowered to it, in dB "
        "of full scale, in training as in use. Unset: it stays as it is"
    )  # fmt: skip
    silence: float | None = Field(
        None, gt=0, le=60, description="longest silence kept before and after speech, in seconds, in training as in "
        "use; a longer recording than max_seconds is then read if its speech is shorter. Unset: all silence is kept"
    )  # fmt: skip
    augment: AudioAugmentConfig = Field(AudioAugmentConfig(), description="augmentation of training sounds")

    @property
    def head_dim(self) -> int:
        return self.d_model // self.n_heads

    @property
    def convolutions(self) -> int:
        """Number of convolutions of stride 2."""
        return self.downsample.bit_length() - 1

    @property
    def shortest(self) -> int:
        """Shortest sound in samples: one token."""
        return self.hop * self.downsample

    def num_tokens(self, samples: int) -> int:
        """Tokens of a sound of ``samples`` samples."""
        frames = samples // self.hop
        for _ in range(self.convolutions):
            frames = halved(frames)
        return frames

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.level and self.level[0] > self.level[1]:
            raise ValueError(f"level begins at {self.level[0]:g} dB, above its end, {self.level[1]:g} dB")
        if twice := {c for c in self.characters if self.characters.count(c) > 1}:
            raise ValueError(f"characters has {min(twice)!r} more than once")
        if self.kernel and self.kernel % 2 == 0:
            raise ValueError(f"kernel is {self.kernel}, not odd")
        if self.d_model % self.n_heads:
            raise ValueError(f"d_model {self.d_model} cannot be split into n_heads {self.n_heads} equal heads")
        if self.head_dim % 2:
            raise ValueError(
                f"a head is d_model / n_heads = {self.d_model} / {self.n_heads} = {self.head_dim} wide; "
                "rotary positions need an even width"
            )
        return self


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
            read="muomni_audio_encoder.voice_activity:read",
            num_tokens="muomni_audio_encoder.runtime:count",
            cache_fields=frozenset({"sample_rate", "max_seconds", "shortest", "level", "silence"}),
            read_chunks="muomni_cli.audio.io:pieces",
            transcribe="muomni_audio_encoder.recognizer:build",
            predictor="muomni_audio_encoder.recognizer:build_predictor",
            head_graphs="muomni_audio_encoder.graphs:head_graphs",
            respond="muomni_audio_encoder.runtime:responds",
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
