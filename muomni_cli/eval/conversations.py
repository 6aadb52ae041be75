"""Metrics of the omni stage: answers to the conversations of ``[[data.omni]]``, and to the same questions with another
picture or sound in place of their own (counterfactual questions).

Answers are generated greedily. One is right if its text is, apart from white space and capitals.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import TYPE_CHECKING, Any

import numpy as np

from muomni_cli.contract.form import Form
from muomni_cli.contract.metrics import EvalSample, MetricResult
from muomni_cli.data.conversations import OmniExample, open_omni_data
from muomni_cli.eval.metrics import metric_result, transcript_metrics
from muomni_cli.eval.report import media_of, select_samples
from muomni_cli.generation import Backend, Request, Sampling, generate
from muomni_cli.models.engines import modalities_of
from muomni_cli.recipe.stages import OMNI, SOUND

if TYPE_CHECKING:
    from muomni_cli.eval.model import EvalContext


@dataclass(frozen=True, slots=True)
class Question:
    """A conversation up to its last answer."""

    prompt: tuple[int, ...]  # ids; -1, -2, ... stand for the tokens of the first, second, ... of ``media``
    media: tuple[tuple[str, int], ...]  # modality and input index of each
    expected: tuple[int, ...]  # ids of the right answer
    task: str  # name of the source
    key: str
    about: tuple[str, ...]


def question_of(example: OmniExample, task: str) -> Question | None:
    """The last question of a conversation; None if there is none, as in a document."""
    learned = np.flatnonzero(example.answer)
    if not len(learned):
        return None
    gaps = np.flatnonzero(np.diff(learned) > 1)
    begin = int(learned[gaps[-1] + 1] if len(gaps) else learned[0])
    if begin == 0 or example.answer[:1].any():
        return None
    end = int(learned[-1]) + 1
    ids = example.ids.tolist()
    return Question(
        tuple(ids[:begin]), tuple(example.media), tuple(ids[begin:end]), task, example.key, tuple(sorted(example.about))
    )


def counterfactual(question: Question, other: Question) -> Question:
    """``question`` with the picture (sound) of ``other`` in place of its own; the right answer is that of ``other``."""
    (modality,) = question.about
    ids: list[int] = []
    for token, run in groupby(question.prompt):
        taken = token < 0 and question.media[-1 - token][0] == modality
        ids += [token] * other.prompt.count(token) if taken else run
    media = zip(question.media, other.media, strict=True)
    own = tuple(theirs if ours[0] == modality else ours for ours, theirs in media)
    return replace(question, prompt=tuple(ids), media=own, expected=other.expected)


def counterfactual_pairs(questions: Sequence[Question]) -> Iterator[tuple[Question, Question]]:
    """Each question about one modality, with the next one that differs from it only in the content of its pictures and
    sounds and in the answer, if there is one."""
    alike: dict[Any, list[Question]] = defaultdict(list)
    for question in questions:
        if len(question.about) == 1:
            words = tuple(token for token in question.prompt if token >= 0)
            alike[words, tuple(modality for modality, _ in question.media), question.about].append(question)
    for group in alike.values():
        for place, question in enumerate(group):
            later = (*group[place + 1 :], *group[:place])
            other = next((one for one in later if one.expected != question.expected), None)
            if other is not None:
                yield question, other


def normalized(text: str) -> str:
    """A text as answers are compared: without capitals and repeated white space."""
    return " ".join(text.casefold().split())


class QuestionAnswering:
    """A model, the questions of one side of the split and their inputs."""

    def __init__(self, context: EvalContext) -> None:
        self._context = context
        recipe = context.recipe
        self._engine = context.model.at(OMNI)
        self.tokenizer = self._engine.tokenizer()
        data = open_omni_data(recipe, self.tokenizer, modalities_of(self._engine), context.progress, only=context.split)
        self._inputs, self.names = data.inputs, data.names
        self.context_length = self._engine.backend().context
        conversations = data.train if context.split == "train" else data.val
        found = (question_of(example, self.names[example.source]) for example in conversations)
        self.questions = [question for question in found if question is not None]

    def answers(self, questions: Sequence[Question]) -> list[str]:
        """The model's answer to each question; prompts of similar length share a batch."""
        chat, size = self._context.recipe.chat, self._context.batch_size
        form = Form.of(chat.form)
        order = sorted(range(len(questions)), key=lambda place: len(questions[place].prompt))
        answers = [""] * len(questions)
        for begin in range(0, len(order), size):
            places = order[begin : begin + size]
            # A new backend for each batch, so that its pictures and sounds are freed with it.
            backend = self._engine.backend()
            requests = []
            for question in (questions[place] for place in places):
                most = 2 * len(question.expected) + 4
                ids, greedy = self._prompt(backend, question), Sampling(temperature=0.0)
                most = most if form is None else chat.max_tokens  # an answer may be longer than the expected one
                requests.append(Request(ids, greedy, max_tokens=most, loop_guard=chat.loop_guard, form=form))
            for event in generate(backend, self.tokenizer, requests):
                answers[places[event.row]] += event.text
        return answers

    def _prompt(self, backend: Backend[Any], question: Question) -> list[int]:
        """Its ids, with the backend's ids of the embeddings of its media."""
        ids = list(question.prompt)
        for number, (modality, index) in enumerate(question.media):
            places = [place for place, token in enumerate(question.prompt) if token == -1 - number]
            rows = self._engine.encode(modality, self._inputs[modality][index])[: len(places)]
            for place, token in zip(places, backend.add_embeddings(rows), strict=True):
                ids[place] = token
        return ids

    def scores(self, questions: Sequence[Question], answers: Sequence[str]) -> list[float]:
        """1 for each question with the right answer, else 0."""
        return [
            float(normalized(text) == normalized(self.tokenizer.decode(one.expected)))
            for one, text in zip(questions, answers, strict=True)
        ]

    def samples(
        self, questions: Sequence[Question], answers: Sequence[str], scores: Sequence[float]
    ) -> list[EvalSample]:
        """Examples for the report, each with its first picture and its first sound."""
        found = []
        for row in select_samples([score > 0 for score in scores]):
            one = questions[row]
            media: dict[str, bytes] = {}
            for modality, index in reversed(one.media):
                media |= media_of(self._context.recipe, modality, self._inputs[modality][index])
            text = self.tokenizer.decode([token for token in one.prompt if token >= 0])
            expected = self.tokenizer.decode(one.expected)
            found.append(EvalSample(" ".join(text.split()), expected, answers[row], scores[row] > 0, **media))
        return found


def conversation_metrics(context: EvalContext, stage: str) -> Iterator[MetricResult]:
    """For every source of ``[[data.omni]]``: ``exact``, the share of right answers, of all questions and of each
    modality they are about; and ``exchanged``, the share of right answers to counterfactual questions, of those whose
    answer must change."""
    model = QuestionAnswering(context)
    for task in model.names:
        of_task = [question for question in model.questions if question.task == task]
        chosen = [of_task[index] for index in context.limited(range(len(of_task)))]
        if chosen:
            yield from _exact(context, model, (stage, task), chosen)
            yield from _exchanged(model, (stage, task), chosen)


def _exact(
    context: EvalContext, model: QuestionAnswering, name: tuple[str, str], questions: Sequence[Question]
) -> Iterator[MetricResult]:
    stage, task = name
    answers = model.answers(questions)
    scores = model.scores(questions, answers)
    keys = [question.key for question in questions]
    yield metric_result(stage, task, "exact", scores, keys, samples=model.samples(questions, answers, scores))
    kinds = sorted({question.about for question in questions})
    if kinds == [(SOUND,)]:
        expected = [model.tokenizer.decode(question.expected) for question in questions]
        yield from transcript_metrics(name, expected, answers, context.progress)
    for kind in kinds if len(kinds) > 1 else ():
        rows = [row for row, question in enumerate(questions) if question.about == kind]
        own = [scores[row] for row in rows]
        yield metric_result(stage, _named(task, kind), "exact", own, [keys[row] for row in rows])


def _exchanged(
    model: QuestionAnswering, name: tuple[str, str], questions: Sequence[Question]
) -> Iterator[MetricResult]:
    stage, task = name
    pairs = list(counterfactual_pairs(questions))
    for kind in sorted({question.about for question, _ in pairs}):
        made = [counterfactual(one, other) for one, other in pairs if one.about == kind]
        made = [one for one in made if len(one.prompt) <= model.context_length]
        if made:
            scores = model.scores(made, model.answers(made))
            yield metric_result(stage, _named(task, kind), "exchanged", scores, [one.key for one in made])


def _named(task: str, kind: Sequence[str]) -> str:
    return f"{task}/{'+'.join(kind) or 'other'}"
