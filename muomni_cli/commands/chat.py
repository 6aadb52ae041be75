"""``muomni chat``: one answer to a prompt, or a conversation."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from muomni_cli.commands.options import ModelOption
from muomni_cli.core.errors import RequestError


def chat(
    prompt: Annotated[str | None, typer.Argument(help="What to say; - reads stdin; nothing begins a session.")] = None,
    model: ModelOption = None,
    image: Annotated[list[str] | None, typer.Option(metavar="FILE", help="Show a picture; may be given again.")] = None,
    audio: Annotated[
        list[str] | None, typer.Option(metavar="FILE", help="Play a sound, - from stdin; may be given again.")
    ] = None,
    attach: Annotated[
        list[str] | None, typer.Option(metavar="NAME=FILE", help="An input of any modality that the model takes.")
    ] = None,
    system: Annotated[str | None, typer.Option(help="System message.")] = None,
    temperature: Annotated[float | None, typer.Option(help="0 always takes the most likely token.")] = None,
    top_k: Annotated[int | None, typer.Option(help="Draw from the k most likely tokens; 0 for all.")] = None,
    top_p: Annotated[float | None, typer.Option(help="Draw from the fewest tokens that hold this probability.")] = None,
    min_p: Annotated[
        float | None, typer.Option(help="Leave out tokens less likely than this share of the best.")
    ] = None,
    repetition_penalty: Annotated[float | None, typer.Option(help="Above 1 makes repeating less likely.")] = None,
    max_tokens: Annotated[int | None, typer.Option(help="Longest answer.")] = None,
    seed: Annotated[int | None, typer.Option(help="Same seed, same answer.")] = None,
    stop: Annotated[list[str] | None, typer.Option(help="End before this text; may be given again.")] = None,
    loop_guard: Annotated[
        bool | None, typer.Option("--loop-guard/--no-loop-guard", help="End an answer before it repeats itself.")
    ] = None,
    speak: Annotated[Path | None, typer.Option(metavar="FILE", help="Speak the answers, too, into this file.")] = None,
    play: Annotated[bool, typer.Option("--play", help="Speak the answers, too, aloud.")] = False,
    voice: Annotated[str | None, typer.Option(help="A voice of the model, by name (default: its first).")] = None,
    vocoder: Annotated[str | None, typer.Option(metavar="NAME", help="Use this vocoder, not the run's own.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    stats: Annotated[bool, typer.Option("--stats", help="Say tokens/s on stderr.")] = False,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, ...")] = "auto",
    threads: Annotated[int | None, typer.Option(min=1, help="CPU threads.")] = None,
) -> None:
    """Talk to a trained model."""
    from muomni_cli.chat.output import SpeechOutput, answer_one_shot, history, read_line, read_prompt
    from muomni_cli.chat.session import TerminalSession
    from muomni_cli.core.console import say
    from muomni_cli.data.media_arguments import attachments, check_words
    from muomni_cli.inference.chat_model import chat_model
    from muomni_cli.inference.model import Model
    from muomni_cli.inference.settings import ChatOptions, settings_of
    from muomni_cli.models.engines import CAN_CHAT, open_engine
    from muomni_cli.models.locate import SPEECH
    from muomni_cli.voice.audio_out import AudioOutput

    words = [f"image={path}" for path in image or []] + [f"audio={path}" for path in audio or []] + (attach or [])
    check_words(words)
    piped = any(word.endswith("=-") for word in words)
    if piped and prompt == "-":
        raise RequestError("the prompt and an attachment both want stdin", "give the prompt as an argument")
    text = "" if piped and prompt is None else read_prompt(prompt)
    if text is None and json:
        raise RequestError("--json answers one prompt, and there is none", 'give one: muomni chat --json "Hello"')
    if text is not None and not text.strip() and not words:
        raise RequestError("the prompt is empty", 'give some text: muomni chat "Once upon a time"')
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
    )
    output_to = AudioOutput.beside_text(speak, play)
    abilities = {word.partition("=")[0] for word in words} | ({SPEECH} if output_to else set())
    with Model(open_engine(model, CAN_CHAT, abilities, device=device, threads=threads)) as opened:
        settings = settings_of(opened.engine, options)
        speech_output = None
        if output_to:
            spoken = opened.voice(vocoder)
            speech_output = SpeechOutput(spoken, spoken.voice_settings(voice), output_to)
            say(f"speaking with {spoken.label} and {spoken.vocoder_name}")
        speaker = chat_model(opened.engine, say, keep=True, hidden=speech_output is not None)
        say(f"model: {opened.engine.source('thinker')}")
        media = attachments(words, speaker.modalities)
        if text is not None:
            answer_one_shot(speaker, settings, text, media, json=json, stats=stats, speech_output=speech_output)
            return
        with history():
            TerminalSession(speaker, settings, media, stats=stats, speech_output=speech_output).run(read_line)
