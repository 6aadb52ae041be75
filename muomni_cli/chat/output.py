"""Terminal input, and answers on stdout or as JSON, spoken while they are generated."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

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
    """A piece of an answer to stdout, at once; to a terminal without control characters that a model may make."""
    shown = terminal_safe(text) if sys.stdout is not None and sys.stdout.isatty() else text
    print(shown, end="", flush=True)


def read_line(prompt: str) -> str:
    """A line from the terminal, with ``prompt`` on stderr when stdout is not the terminal.

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
    """Line editing with the lines of earlier sessions, where the system has readline; saved at the end.

    A history that cannot be read or written costs a line of talk, never the session.
    """
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


def as_unicode(text: str) -> str:
    """``text`` with U+FFFD in place of bytes that are not UTF-8, which the system passes on as lone surrogates."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


@dataclass(slots=True)
class SpeechOutput:
    """What speaks answers, one after the other.

    Args:
        voice: who speaks.
        voice_settings: how.
        audio_output: where to: a file gets all answers of its :meth:`session`, the loudspeaker each as it comes.
    """

    voice: Voice
    voice_settings: VoiceSettings
    audio_output: AudioOutput
    _file: Write | None = field(default=None, init=False)

    @contextmanager
    def session(self) -> Iterator[None]:
        """While the file is written, which is there at the end."""
        if self.audio_output.output is None:
            yield
            return
        with replace(self.audio_output, play=False).open(self.voice.sample_rate) as self._file:
            yield
        self._file = None
        say(f"wrote {self.audio_output.output}")

    def speak(self, pieces: Iterable[TextChunk], *, seed: int, stats: bool) -> None:
        """Speak ``pieces`` as they come. They are all taken, also what cannot be spoken any more."""
        embedded = iter(pieces)
        speech = SpeechStats(self.voice.sample_rate)
        samples = self.voice.say(embedded, self.voice_settings, SpeechSampling(seed), speech)
        if self.audio_output.play:
            with replace(self.audio_output, output=None).open(self.voice.sample_rate) as play:
                for piece in samples:
                    self._write(piece, play)
        else:
            for piece in samples:
                self._write(piece)
        for _ in embedded:
            pass
        if not speech.samples:
            say("(nothing of this answer can be spoken)")
        elif stats:
            say(f"({stats_line(speech)})")

    def _write(self, piece: NDArray[np.float32], play: Write | None = None) -> None:
        for way in (self._file, play):
            if way is not None:
                way(piece)


REPEATED = "(the answer was ended before it repeated itself; --no-loop-guard lets it go on)"
"""Said of an answer that the loop guard ended."""


def shown(pieces: Iterable[TextChunk], show: Callable[[str], None]) -> Iterator[TextChunk]:
    """``pieces`` as they come, each shown before it is given out."""
    for piece in pieces:
        show(piece.text)
        yield piece


def deliver(
    pieces: Iterable[TextChunk],
    show: Callable[[str], None],
    speech_output: SpeechOutput | None,
    *,
    seed: int,
    stats: bool,
) -> None:
    """Show an answer as it comes and, with a ``speech_output``, speak it meanwhile."""
    if speech_output is not None:
        speech_output.speak(shown(pieces, show), seed=seed, stats=stats)
        return
    for _ in shown(pieces, show):
        pass


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
    """Answer ``prompt``, asked about ``media``; aloud, with a ``speech_output``.

    Raises:
        RequestError: the prompt is empty, it does not fit the context, or one of the media cannot be used.
    """
    ids = chat_model.prompt(prompt, media, settings)
    answer = Answer()
    pieces = chat_model.answer(ids, settings, answer)
    with speech_output.session() if speech_output else nullcontext():
        deliver(pieces, _no_media_dropped if json else write_answer, speech_output, seed=settings.seed, stats=stats)
        if not json:
            print(flush=True)  # before anything is told of the speech
    if answer.finish == "loop":
        say(REPEATED)
    if json:
        print_json(_report(chat_model, settings, answer, len(ids)))
    if stats:
        say(token_stats(answer))


def _no_media_dropped(_: str) -> None:
    """What is printed at the end as JSON is not shown before."""


def token_stats(answer: Answer) -> str:
    """How much was said, how fast, and why it ended."""
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
