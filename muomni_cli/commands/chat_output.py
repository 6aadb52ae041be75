"""Terminal input, and answers printed as text or JSON, optionally spoken while they are generated."""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING

from muomni_cli.commands.options import as_unicode
from muomni_cli.contract.data import Media
from muomni_cli.contract.speech import TextChunk
from muomni_cli.core.console import print_json, say, terminal_safe
from muomni_cli.core.files import config_folder
from muomni_cli.inference.chat_model import Answer, ChatModel
from muomni_cli.inference.settings import GenerationSettings, describe

if TYPE_CHECKING:
    from muomni_cli.voice.audio_out import SpeechOutput

REPEATED = "(the answer was stopped before it repeated itself; --no-loop-guard disables this)"  # by the loop guard


def write_answer(text: str) -> None:
    """Print a piece of an answer at once; on a terminal without control characters."""
    shown = terminal_safe(text) if sys.stdout is not None and sys.stdout.isatty() else text
    print(shown, end="", flush=True)


def read_line(prompt: str) -> str:
    """A line from the terminal; EOFError on Ctrl-D. ``prompt`` goes to stderr if stdout is not a terminal."""
    if sys.stdout is not None and sys.stdout.isatty():
        return as_unicode(input(prompt))
    if sys.stderr is not None:
        print(prompt, end="", file=sys.stderr, flush=True)
    line = sys.stdin.readline()
    if not line:
        raise EOFError
    return as_unicode(line.removesuffix("\n"))


@contextmanager
def history() -> Iterator[None]:
    """Line editing with the history of earlier sessions, where readline exists; saved at the end. A history file that
    cannot be read or written only causes a message."""
    try:
        import readline
    except ImportError:  # Windows
        yield
        return
    path = config_folder() / "chat_history"
    readline.set_history_length(1000)
    try:
        if path.is_file():
            readline.read_history_file(path)
    except OSError as error:
        say(f"no history from earlier sessions: {path}: {error.strerror or error}")
    try:
        yield
    finally:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            readline.write_history_file(path)
        except OSError as error:
            say(f"the history is not kept: {path}: {error.strerror or error}")


def read_prompt(argument: str | None) -> str | None:
    """The prompt: ``argument``, or stdin for ``-`` and for a pipe; None asks for a session."""
    if argument is not None and argument != "-":
        return as_unicode(argument)
    if sys.stdin is None:
        return ""
    if argument is None and sys.stdin.isatty():
        return None
    return sys.stdin.buffer.read().decode("utf-8", "replace").rstrip("\r\n")


def deliver(
    pieces: Iterable[TextChunk],
    show: Callable[[str], None],
    speech_output: SpeechOutput | None,
    *,
    seed: int,
    stats: bool,
) -> None:
    """Show an answer as it is generated and, with a ``speech_output``, speak it at the same time."""

    def shown() -> Iterator[TextChunk]:
        begun = False
        for piece in pieces:
            text = piece.text if begun else piece.text.lstrip("\n")  # in plain conversations a line begins each turn
            begun = begun or bool(text)
            show(text)
            yield piece

    if speech_output is not None:
        speech_output.speak(shown(), seed=seed, stats=stats)
    else:
        deque(shown(), maxlen=0)


def answer_one_shot(
    chat_model: ChatModel,
    settings: GenerationSettings,
    prompt: str,
    media: Sequence[Media] = (),
    *,
    json: bool,
    stats: bool,
    speech_output: SpeechOutput | None = None,
) -> None:
    """Answer ``prompt`` about ``media``, with a ``speech_output`` also aloud. RequestError if the prompt is empty or
    does not fit the context, or one of the media cannot be used."""
    ids = chat_model.prompt(prompt, media, settings)
    answer = Answer()
    pieces = chat_model.answer(ids, settings, answer)
    with speech_output.session() if speech_output else nullcontext():
        show = (lambda _: None) if json else write_answer
        deliver(pieces, show, speech_output, seed=settings.seed, stats=stats)
        if not json:
            print(flush=True)  # before messages about the speech
    if answer.finish == "loop":
        say(REPEATED)
    if json:
        report = {
            "text": answer.text,
            "tokens": len(answer.tokens),
            "prompt_tokens": len(ids),
            "finish": answer.finish,
            "tokens_per_second": round(answer.rate, 1),
            "model": chat_model.label,
            "seed": settings.seed,
            "settings": describe(settings),
        }
        print_json(report)
    if stats:
        say(token_stats(answer))


def token_stats(answer: Answer) -> str:
    return f"{len(answer.tokens)} tokens, {answer.rate:.0f} tokens/s, {answer.finish or 'interrupted'}"
