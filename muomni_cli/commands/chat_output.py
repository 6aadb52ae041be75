"""Terminal input, and answers printed as text or JSON, optionally spoken while they are generated."""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from muomni_cli.commands.options import as_unicode
from muomni_cli.contract.data import Media
from muomni_cli.contract.speech import TextChunk, VoiceSettings
from muomni_cli.core.console import print_json, say, terminal_safe
from muomni_cli.core.files import config_folder
from muomni_cli.inference.chat_model import Answer, ChatModel
from muomni_cli.inference.settings import GenerationSettings, describe
from muomni_cli.voice.audio_out import AudioOutput, stats_line
from muomni_cli.voice.synthesis import SpeechSampling, SpeechStats

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from muomni_cli.voice.audio_out import Write
    from muomni_cli.voice.synthesis import Voice

HISTORY_LINES = 1000


def write_answer(text: str) -> None:
    """Print a piece of an answer at once; on a terminal without control characters."""
    shown = terminal_safe(text) if sys.stdout is not None and sys.stdout.isatty() else text
    print(shown, end="", flush=True)


def read_line(prompt: str) -> str:
    """A line from the terminal; ``prompt`` goes to stderr if stdout is not a terminal.

    Raises:
        EOFError: Ctrl-D.
    """
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
    """Line editing with the history of earlier sessions, where readline exists; saved at the end. History files that
    cannot be read or written only cause a message."""
    try:
        import readline
    except ImportError:  # Windows
        yield
        return
    path = config_folder() / "chat_history"
    readline.set_history_length(HISTORY_LINES)
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


@dataclass(slots=True)
class SpeechOutput:
    """Speaks answers, one after the other.

    Args:
        voice: speaks them.
        voice_settings: its settings.
        audio_output: where the samples go: a file gets all answers of a :meth:`session`, the loudspeaker each as it
            comes.
    """

    voice: Voice
    voice_settings: VoiceSettings
    audio_output: AudioOutput
    _file: Write | None = field(default=None, init=False)

    @contextmanager
    def session(self) -> Iterator[None]:
        """Writes the file, which is complete when the context ends."""
        if self.audio_output.output is None:
            yield
            return
        with replace(self.audio_output, play=False).open(self.voice.sample_rate) as self._file:
            yield
        self._file = None
        say(f"wrote {self.audio_output.output}")

    def speak(self, pieces: Iterable[TextChunk], *, seed: int, stats: bool) -> None:
        """Speak ``pieces`` as they arrive. All pieces are consumed, even those that cannot be spoken."""
        text = iter(pieces)
        speech = SpeechStats(self.voice.sample_rate)
        samples = self.voice.say(text, self.voice_settings, SpeechSampling(seed), speech)
        if self.audio_output.play:
            with replace(self.audio_output, output=None).open(self.voice.sample_rate) as play:
                for piece in samples:
                    self._write(piece, play)
        else:
            for piece in samples:
                self._write(piece)
        deque(text, maxlen=0)
        if not speech.samples:
            say("(nothing of this answer can be spoken)")
        elif stats:
            say(f"({stats_line(speech)})")

    def _write(self, piece: NDArray[np.float32], play: Write | None = None) -> None:
        for way in (self._file, play):
            if way is not None:
                way(piece)


REPEATED = "(the answer was stopped before it repeated itself; --no-loop-guard disables this)"
"""Message after an answer that the loop guard ended."""


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
        for piece in pieces:
            show(piece.text)
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
    """Answer ``prompt`` about ``media``; with a ``speech_output`` also aloud.

    Raises:
        RequestError: the prompt is empty or does not fit the context, or one of the media cannot be used.
    """
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
        print_json(_report(chat_model, settings, answer, len(ids)))
    if stats:
        say(token_stats(answer))


def token_stats(answer: Answer) -> str:
    return f"{len(answer.tokens)} tokens, {answer.rate:.0f} tokens/s, {answer.finish or 'interrupted'}"


def _report(
    chat_model: ChatModel, settings: GenerationSettings, answer: Answer, prompt_tokens: int
) -> dict[str, object]:
    return {
        "text": answer.text,
        "tokens": len(answer.tokens),
        "prompt_tokens": prompt_tokens,
        "finish": answer.finish,
        "tokens_per_second": round(answer.rate, 1),
        "model": chat_model.label,
        "seed": settings.seed,
        "settings": describe(settings),
    }
