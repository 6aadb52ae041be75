"""An interactive session: prompts, answers and /commands. Answers go to stdout, everything else to stderr."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from muomni_cli.commands.chat_output import REPEATED, deliver, token_stats, write_answer
from muomni_cli.contract.data import Media, Message
from muomni_cli.core.console import print_error, say
from muomni_cli.core.errors import MuomniError, RequestError
from muomni_cli.core.files import write_text
from muomni_cli.core.stopping import interruptible
from muomni_cli.data.media import attachment
from muomni_cli.inference.chat_model import Answer, ChatModel
from muomni_cli.inference.history import ChatHistory, MediaHistory
from muomni_cli.inference.settings import GenerationSettings, describe, set_by_name
from muomni_cli.registry.registry import nearest

if TYPE_CHECKING:
    from muomni_cli.voice.audio_out import SpeechOutput

HELP = """\
/attach NAME=FILE attach a file to the next message; also /image FILE, /audio FILE, /NAME FILE
/detach           remove what is attached
/drop             do not repeat the last audio with every question
/retry            answer the last question again, with another seed
/reset            clear the conversation
/system [TEXT]    show or set the system message, and start over
/set [NAME VALUE] show or change sampling settings: /set temperature 0.5
/save FILE        write the conversation to a text file
/help             this list
/quit             leave (also exit, quit and Ctrl-D; Ctrl-C stops an answer)"""


class TerminalSession:
    """State of a conversation. Commands are methods, found by name.

    A file is read and encoded when it is attached, so an unusable file is reported at once and never blocks a question.
    It goes with the next question, and with all further ones if its modality is in ``settings.reattach``. A question
    about ``media`` without text is answered first. RequestError if ``media`` cannot be used.
    """

    def __init__(
        self,
        chat_model: ChatModel,
        settings: GenerationSettings,
        media: Sequence[Media] = (),
        *,
        stats: bool = False,
        speech_output: SpeechOutput | None = None,
    ) -> None:
        self.chat_model, self.settings = chat_model, settings
        self.stats, self.speech_output = stats, speech_output
        self.attached = chat_model.encode_media(media)
        self._media_unasked = bool(media)
        self.carried = MediaHistory(settings.reattach, chat_model.modalities)
        self.talk = self._fresh()
        self.commands: dict[str, Callable[[str], None]] = {
            "help": lambda _: say(HELP),
            "attach": self.attach,
            "detach": self.detach,
            "drop": self.drop,
            **{name: partial(self._attach_as, name) for name in chat_model.modalities},
            "retry": self.retry,
            "reset": self.reset,
            "system": self.system,
            "set": self.set,
            "save": self.save,
        }

    def run(self, read_line: Callable[[str], str]) -> None:
        """Read and handle lines until Ctrl-D, exit or quit. Errors are printed and do not end the session."""
        with interruptible(), self.speech_output.session() if self.speech_output else nullcontext():
            say("type a message; /help lists commands, exit or Ctrl-D leaves")
            if self._media_unasked:
                self._media_unasked = False
                self._attempt(partial(self.ask, ""))
            while True:
                try:
                    line = read_line("> ").strip()
                except EOFError:
                    say("")
                    return
                except KeyboardInterrupt:
                    say("")
                    continue
                if line.lower() in {"exit", "quit", "/exit", "/quit"}:
                    return
                self._attempt(partial(self.take, line))

    def _attempt(self, act: Callable[[], None]) -> None:
        try:
            act()
        except MuomniError as error:
            print_error(error.what, error.fix)
        except KeyboardInterrupt:
            say("\n(stopped)")

    def take(self, line: str) -> None:
        """Handle a line: a command or a prompt. The conversation is unchanged after a RequestError."""
        if not line:
            return
        if not line.startswith("/"):
            self.ask(line)
            return
        name, _, rest = line[1:].partition(" ")
        if name not in self.commands:
            near = nearest(name, [*self.commands, "quit"])
            hint = f"did you mean /{near}? " if near else ""
            raise RequestError(f"there is no command /{name}", f"{hint}see /help")
        self.commands[name](rest.strip())

    def ask(self, text: str) -> None:
        """Answer on stdout, about the attachments. Ctrl-C stops the answer; the part generated so far is kept."""
        embedded = self.carried.beside(self.attached)
        question, media_ids = self.chat_model.question(text, embedded)
        self._answer(question, media_ids)
        self.carried.keep(embedded)
        self.attached = []

    def attach(self, words: str) -> None:
        """Attach a file to the next message, or list the attachments."""
        if words:
            modality, _, path = words.partition("=")
            media = attachment(modality.strip(), path.strip(), self.chat_model.modalities)
            self.attached = self.chat_model.encode_media([*(one for one, _ in self.attached), media])
        for media, _ in self.attached:
            say(f"(attached {media.modality}: {media.name})")
        for media, _ in self.carried.taken:
            say(f"(still attached {media.modality}: {media.name}; /drop removes it)")
        if not self.attached and not self.carried.taken:
            say("(nothing is attached)")

    def detach(self, _: str = "") -> None:
        self.attached = []
        self.attach("")

    def drop(self, _: str = "") -> None:
        """Do not repeat attachments of earlier questions."""
        self.carried.drop()
        self.attach("")

    def _attach_as(self, modality: str, path: str) -> None:
        self.attach(f"{modality}={path}")

    def _answer(self, question: Message, media_ids: Sequence[int]) -> None:
        ids, dropped = self.talk.ask(question, media_ids, self.settings.max_tokens)
        if dropped:
            say(f"(the context is full: the {dropped} oldest exchange{'s are' if dropped > 1 else ' is'} dropped)")
        answer = Answer()
        try:
            pieces = self.chat_model.answer(ids, self.settings, answer)
            deliver(pieces, write_answer, self.speech_output, seed=self.settings.seed, stats=self.stats)
        except KeyboardInterrupt:
            say("\n(stopped)")
        else:
            print(flush=True)
        if answer.finish == "loop":
            say(REPEATED.replace("--no-loop-guard", "/set loop_guard off"))
        self.talk.answered(question, media_ids, answer)
        if self.stats:
            say(f"({token_stats(answer)})")

    def retry(self, _: str = "") -> None:
        """Answer the last question again with the next seed."""
        if not self.talk.exchanges:
            raise RequestError("there is no answer to retry", "ask something first")
        last = self.talk.exchanges.pop()
        self.settings = replace(self.settings, seed=self.settings.seed + 1)
        self._answer(last.question, last.media_ids)

    def reset(self, _: str = "") -> None:
        """Clear everything but the system message."""
        self.talk = self._fresh(self.talk.system)
        self.carried.drop()
        say("(cleared)")

    def system(self, text: str) -> None:
        """Show the system message, or set it and start over."""
        if not text:
            say(self.talk.system or "(no system message)")
            return
        self.talk = self._fresh(text)
        self.carried.drop()
        say("(a new conversation)")

    def set(self, words: str) -> None:
        """Show all settings, or change one."""
        name, _, value = words.partition(" ")
        if value:
            self.settings = set_by_name(self.settings, name, value.strip())
            return
        shown = describe(self.settings)
        if name and name not in shown:
            raise RequestError(f"there is no setting {name!r}", f"one of: {', '.join(shown)}")
        for key in [name] if name else list(shown):
            say(f"{key} {shown[key]}")

    def save(self, path: str) -> None:
        if not path:
            raise RequestError("/save needs a file", "for example: /save talk.txt")
        lines = [f"system: {self.talk.system}\n"] if self.talk.system else []
        for exchange in self.talk.exchanges:
            lines += [f"[{media.modality}: {media.name}]" for media in exchange.question.media]
            lines.append(f"> {exchange.question.text}\n{exchange.answer}\n")
        write_text(Path(path).expanduser(), "\n".join(lines))
        say(f"(saved {path})")

    def _fresh(self, system: str | None = None) -> ChatHistory:
        system = self.settings.system if system is None else system
        return ChatHistory(self.chat_model.tokenizer, self.settings.template, self.chat_model.context, system)
