"""``muomni chat``: one answer to a prompt, or an interactive session."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from muomni_cli.commands.options import (
    AttachOption,
    AudioOption,
    ChoicesOption,
    DeviceOption,
    GrammarOption,
    ImageOption,
    JsonSchemaOption,
    LoopGuardOption,
    MinPOption,
    ModelOption,
    RegexOption,
    RepetitionPenaltyOption,
    SystemOption,
    TemperatureOption,
    ThreadsOption,
    TopKOption,
    TopPOption,
    VocoderOption,
    VoiceOption,
    form_option,
    media_words,
)
from muomni_cli.core.errors import RequestError

if TYPE_CHECKING:
    from muomni_cli.data.media import Modality
    from muomni_cli.inference.model import Model
    from muomni_cli.voice.audio_out import AudioOutput


def chat(
    prompt: Annotated[
        str | None, typer.Argument(help="Prompt; - reads stdin. Without one, an interactive session starts.")
    ] = None,
    model: ModelOption = None,
    image: ImageOption = None,
    audio: AudioOption = None,
    attach: AttachOption = None,
    system: SystemOption = None,
    temperature: TemperatureOption = None,
    top_k: TopKOption = None,
    top_p: TopPOption = None,
    min_p: MinPOption = None,
    repetition_penalty: RepetitionPenaltyOption = None,
    max_tokens: Annotated[int | None, typer.Option(help="Maximum tokens of an answer.")] = None,
    seed: Annotated[int | None, typer.Option(help="Random seed; the same seed gives the same answer.")] = None,
    stop: Annotated[list[str] | None, typer.Option(help="Stop before this text; repeatable.")] = None,
    loop_guard: LoopGuardOption = None,
    choices: ChoicesOption = None,
    json_schema: JsonSchemaOption = None,
    regex: RegexOption = None,
    grammar: GrammarOption = None,
    speak: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Also speak the answers, into this audio file.")
    ] = None,
    play: Annotated[bool, typer.Option("--play", help="Also speak the answers, through the loudspeaker.")] = False,
    voice: VoiceOption = None,
    vocoder: VocoderOption = None,
    json: Annotated[bool, typer.Option("--json", help="Print the answer as a JSON object.")] = False,
    stats: Annotated[bool, typer.Option("--stats", help="Print tokens per second to stderr.")] = False,
    device: DeviceOption = "auto",
    threads: ThreadsOption = None,
) -> None:
    """Chat with a trained model about text, images and audio."""
    from muomni_cli.commands.chat_output import answer_one_shot, history, read_line
    from muomni_cli.commands.chat_session import TerminalSession
    from muomni_cli.core.console import say
    from muomni_cli.data.media import Modality, attachments
    from muomni_cli.inference.chat_model import chat_model
    from muomni_cli.inference.model import Model
    from muomni_cli.inference.settings import ChatOptions, settings_of
    from muomni_cli.models.engines import CAN_CHAT, open_engine, responding
    from muomni_cli.models.locate import SPEECH

    words = media_words(image, audio, attach)
    later = prompt is None and bool(words)  # an encoder that answers by itself needs no text: stdin is not read for it
    text = None if later else _question(prompt, words, json=json)
    options = ChatOptions(
        system=system,
        temperature=temperature,
        top_k=top_k,
        top_p=top_p,
        min_p=min_p,
        repetition_penalty=repetition_penalty,
        max_tokens=max_tokens,
        stop=stop or None,
        seed=seed,
        loop_guard=loop_guard,
        form=form_option(choices, json_schema, regex, grammar),
    )
    output_to = _audio_output(speak, play)
    abilities = {word.partition("=")[0] for word in words} | ({SPEECH} if output_to else set())
    with Model(open_engine(model, CAN_CHAT, abilities, device=device, threads=threads)) as opened:
        if (responder := responding(opened.engine)) is not None:
            if text is None and not later:
                raise RequestError(f"{opened.label} answers one recording at a time", "give one: --audio FILE")
            _answer_by_encoder(opened, Modality(*responder), text or "", words, json=json)
            return
        if later:
            text = _question(prompt, words, json=json)
        settings = settings_of(opened.engine, options)
        speech_output = None
        if output_to:
            from muomni_cli.voice.audio_out import SpeechOutput

            spoken = opened.voice(vocoder)
            speech_output = SpeechOutput(spoken, spoken.voice_settings(voice), output_to)
            say(f"speaking with {spoken.label} and {spoken.vocoder_name}")
        speaker = chat_model(opened.engine, say, prefix_cache=True, hidden=speech_output is not None)
        say(f"model: {opened.engine.source('thinker')}")
        media = attachments(words, speaker.modalities)
        if text is not None:
            answer_one_shot(speaker, settings, text, media, json=json, stats=stats, speech_output=speech_output)
            return
        with history():
            TerminalSession(speaker, settings, media, stats=stats, speech_output=speech_output).run(read_line)


def _audio_output(speak: Path | None, play: bool) -> AudioOutput | None:
    """Where answers are spoken; None: nowhere, which needs nothing imported that writes and plays sounds."""
    if speak is None and not play:
        return None
    from muomni_cli.voice.audio_out import AudioOutput

    return AudioOutput.beside_text(speak, play)


def _answer_by_encoder(model: Model, modality: Modality, text: str, words: Sequence[str], *, json: bool) -> None:
    """Print the answer of an encoder that answers by itself: one line."""
    from muomni_cli.commands.chat_output import write_answer
    from muomni_cli.core.console import print_json, say
    from muomni_cli.data.media import attachments

    say(f"model: {model.label}")
    answer = model.respond(text, attachments(words, {modality.modality: modality}))
    if json:
        print_json({"text": answer, "model": model.label})
    else:
        write_answer(f"{answer}\n")


def _question(prompt: str | None, words: Sequence[str], *, json: bool) -> str | None:
    """The text of the question; None for a session. RequestError for an empty one, or stdin wanted twice."""
    from muomni_cli.commands.chat_output import read_prompt

    piped = any(word.endswith("=-") for word in words)
    if piped and prompt == "-":
        raise RequestError("the prompt and an attachment both read stdin", "give the prompt as an argument")
    text = "" if piped and prompt is None else read_prompt(prompt)
    if text is None and json:
        raise RequestError("--json needs a prompt", 'give one: muomni chat --json "Hello"')
    if text is not None and not text.strip() and not words:
        raise RequestError("the prompt is empty", 'give some text: muomni chat "Once upon a time"')
    return text
