"""Cards of the whole model: its answers to the conversations of ``[[data.omni]]``, and to the same questions about
another picture or sound. Knows no part by name, and no torch.

A question is answered greedily, as in chat, and is right if the text is, whatever its white space and capitals.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import TYPE_CHECKING, Any

import numpy as np

from muomni_cli.data.talks import Talk, open_talks
from muomni_cli.evaluation.card import Card, Shown, card_of
from muomni_cli.evaluation.exhibits import as_seen, worth_showing
from muomni_cli.evaluation.taken_down import taken_down
from muomni_cli.generation import Backend, Request, Sampling, generate
from muomni_cli.models.engines import senses_of
from muomni_cli.recipe.model import SOUND
from muomni_cli.recipe.stages import OMNI

if TYPE_CHECKING:
    from muomni_cli.evaluation.subject import Subject

ROOM = 2, 4
"""Tokens that an answer may take: so many times those of the right one, and so many more."""


@dataclass(frozen=True, slots=True)
class Question:
    """A conversation up to its last answer.

    Args:
        prompt: ids; below 0 for media, as in :class:`muomni_cli.data.talks.Talk`.
        media: modality and number of the input of each.
        wanted: the ids of the right answer.
        task: name of its source.
        key, about: as in the talk.
    """

    prompt: tuple[int, ...]
    media: tuple[tuple[str, int], ...]
    wanted: tuple[int, ...]
    task: str
    key: str
    about: tuple[str, ...]

    @property
    def asked(self) -> tuple[Any, ...]:
        """What another question is the same by: words, and what is shown and played, but not what is in it."""
        words = tuple(token for token in self.prompt if token >= 0)
        return words, tuple(modality for modality, _ in self.media), self.about


def question_of(talk: Talk, task: str) -> Question | None:
    """The last question of a conversation; None where there is none, as in a document."""
    learned = np.flatnonzero(talk.answer)
    if not len(learned):
        return None
    gaps = np.flatnonzero(np.diff(learned) > 1)
    begin = int(learned[gaps[-1] + 1] if len(gaps) else learned[0])
    if begin == 0 or talk.answer[:1].any():
        return None
    end = int(learned[-1]) + 1
    ids = talk.ids.tolist()
    return Question(
        tuple(ids[:begin]), tuple(talk.media), tuple(ids[begin:end]), task, talk.key, tuple(sorted(talk.about))
    )


def exchanged(question: Question, other: Question) -> Question:
    """``question`` with what it is about taken from ``other``, whose answer is then the right one."""
    (modality,) = question.about
    ids: list[int] = []
    for token, run in groupby(question.prompt):
        taken = token < 0 and question.media[-1 - token][0] == modality
        ids += [token] * other.prompt.count(token) if taken else run
    media = zip(question.media, other.media, strict=True)
    own = tuple(theirs if ours[0] == modality else ours for ours, theirs in media)
    return replace(question, prompt=tuple(ids), media=own, wanted=other.wanted)


def partners(questions: Sequence[Question]) -> Iterator[tuple[Question, Question]]:
    """Each question about one modality, with the next that asks the same and has another answer, where there is one."""
    alike: dict[Any, list[Question]] = defaultdict(list)
    for question in questions:
        if len(question.about) == 1:
            alike[question.asked].append(question)
    for group in alike.values():
        for place, question in enumerate(group):
            later = (*group[place + 1 :], *group[:place])
            other = next((one for one in later if one.wanted != question.wanted), None)
            if other is not None:
                yield question, other


def same(text: str) -> str:
    """What of a text decides whether it is right."""
    return " ".join(text.casefold().split())


class Dialogues:
    """An open model and the inputs that questions are about."""

    def __init__(self, subject: Subject) -> None:
        self._subject = subject
        recipe = subject.recipe
        self._engine = subject.model.at(OMNI)
        self.tokenizer = self._engine.tokenizer()
        self._ends = recipe.chat.template != "plain"
        data = open_talks(recipe, self.tokenizer, senses_of(self._engine), subject.progress, only=subject.split)
        self._inputs, self.names = data.inputs, data.names
        self.context = self._engine.backend().context
        talks = data.train if subject.split == "train" else data.val
        found = (question_of(talk, self.names[talk.source]) for talk in talks)
        self.questions = [question for question in found if question is not None]

    def answered(self, questions: Sequence[Question]) -> list[str]:
        """What is answered to each."""
        size = self._subject.batch_size
        order = sorted(range(len(questions)), key=lambda place: len(questions[place].prompt))
        said = [""] * len(questions)
        for begin in range(0, len(order), size):
            places = order[begin : begin + size]
            for place, text in zip(places, self._batch([questions[place] for place in places]), strict=True):
                said[place] = text
        return said

    def right(self, questions: Sequence[Question], said: Sequence[str]) -> list[float]:
        """1 for each question that is answered rightly, else 0."""
        return [float(same(text) == same(self.wanted(one))) for one, text in zip(questions, said, strict=True)]

    def wanted(self, question: Question) -> str:
        """The right answer."""
        return self.tokenizer.decode(question.wanted)

    def samples(self, questions: Sequence[Question], said: Sequence[str], scores: Sequence[float]) -> list[Shown]:
        """A few of them, to see and hear."""
        found = []
        for row in worth_showing([score > 0 for score in scores]):
            one = questions[row]
            found.append(Shown(self._asked(one), self.wanted(one), said[row], scores[row] > 0, **self._seen(one)))
        return found

    def _asked(self, question: Question) -> str:
        """The words of the conversation so far."""
        return " ".join(self.tokenizer.decode([token for token in question.prompt if token >= 0]).split())

    def _seen(self, question: Question) -> dict[str, bytes]:
        """Its first picture and its first sound."""
        found: dict[str, bytes] = {}
        for modality, index in reversed(question.media):
            found |= as_seen(self._subject, modality, self._inputs[modality][index])
        return found

    def _batch(self, questions: Sequence[Question]) -> list[str]:
        # Each batch has a backend of its own, which forgets its pictures and sounds with it.
        backend = self._engine.backend()
        guard = self._ends and self._subject.recipe.chat.loop_guard
        requests = [
            Request(
                self._prompt(backend, question),
                Sampling(temperature=0.0),
                # Nothing ends a plain answer, so it is compared as far as the right one goes.
                max_tokens=ROOM[0] * len(question.wanted) + ROOM[1] if self._ends else len(question.wanted),
                loop_guard=guard,
            )
            for question in questions
        ]
        texts = [""] * len(requests)
        for event in generate(backend, self.tokenizer, requests):
            texts[event.row] += event.text
        return texts

    def _prompt(self, backend: Backend[Any], question: Question) -> list[int]:
        """Its ids, with what the backend calls the tokens of its media in their places."""
        ids = list(question.prompt)
        for number, (modality, index) in enumerate(question.media):
            places = [place for place, token in enumerate(question.prompt) if token == -1 - number]
            soft = backend.remember(self._engine.encode(modality, self._inputs[modality][index])[: len(places)])
            for place, token in zip(places, soft, strict=True):
                ids[place] = token
        return ids


def dialogue_cards(subject: Subject, stage: str) -> Iterator[Card]:
    """For every source of ``[[data.omni]]``: ``exact``, the share of right answers, of all questions and of each kind;
    and ``exchanged``, the share of questions that are answered rightly for another picture (sound) in the place of
    their own, of those whose answer must change then."""
    dialogues = Dialogues(subject)
    for task in dialogues.names:
        of_task = [question for question in dialogues.questions if question.task == task]
        chosen = [of_task[place] for place in subject.limited(range(len(of_task)))]
        if not chosen:
            continue
        said = dialogues.answered(chosen)
        scores = dialogues.right(chosen, said)
        card = card_of(stage, task, "exact", scores, [question.key for question in chosen])
        yield replace(card, samples=dialogues.samples(chosen, said, scores))
        kinds = sorted({question.about for question in chosen})
        if kinds == [(SOUND,)]:
            yield from taken_down(subject, (stage, task), [dialogues.wanted(one) for one in chosen], said)
        for kind in kinds if len(kinds) > 1 else ():
            own = [(score, one.key) for score, one in zip(scores, chosen, strict=True) if one.about == kind]
            yield card_of(stage, _named(task, kind), "exact", [score for score, _ in own], [key for _, key in own])
        pairs = list(partners(chosen))
        for kind in sorted({question.about for question, _ in pairs}):
            made = [exchanged(one, other) for one, other in pairs if one.about == kind]
            made = [one for one in made if len(one.prompt) <= dialogues.context]
            if made:
                moved = dialogues.right(made, dialogues.answered(made))
                yield card_of(stage, _named(task, kind), "exchanged", moved, [one.key for one in made])


def _named(task: str, kind: Sequence[str]) -> str:
    return f"{task}/{'+'.join(kind) or 'other'}"
