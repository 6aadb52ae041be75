"""Cards as one HTML file, to look at and to listen to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from muomni_cli.evaluation.card import HEADINGS, Card, Shown, rows
from muomni_cli.evaluation.page_plots import legend, plots
from muomni_cli.evaluation.page_style import STYLE
from muomni_cli.report.page import audio, data_uri, document, facts, table

WORDS = frozenset({"STAGE", "TASK", "METRIC", "DRAWN BY"})
"""Columns of words; all others are numbers, and end at the right."""

NOTHING = "<em>(nothing)</em>"


def page(title: str, about: Mapping[str, str], cards: Sequence[Card]) -> str:
    """The page, as text to be written in UTF-8. The same cards give the same page.

    Args:
        title: what it is about.
        about: what was evaluated, when and how, by name.
        cards: in the order of their stages and tasks.
    """
    stages = list(dict.fromkeys(card.stage for card in cards))
    body = [f"<h1>{escape(title)}</h1>", *([facts(about)] if about else [])]
    if cards:
        body.append(_overview(stages, cards))
    else:
        body.append("<p>There are no cards: nothing was evaluated.</p>")
    for place, stage in enumerate(stages):
        body.append(_section(place, stage, [card for card in cards if card.stage == stage]))
    return document(title, STYLE, body)


def _overview(stages: Sequence[str], cards: Sequence[Card]) -> str:
    """All cards at a glance, and where more is told of each stage."""
    links = [f'<li><a href="#stage-{place}">{escape(stage)}</a></li>' for place, stage in enumerate(stages)]
    return (
        f'<nav aria-label="Stages"><ul>{"".join(links)}</ul></nav>\n'
        f'<section aria-labelledby="overview">\n<h2 id="overview">Overview</h2>\n{legend()}\n{plots(cards)}\n</section>'
    )


def _section(place: int, stage: str, cards: Sequence[Card]) -> str:
    """One stage: its table, and whatever its cards have to see, to hear and to read."""
    named = f"stage-{place}"
    return _lines(
        [
            f'<section aria-labelledby="{named}">\n<h2 id="{named}">{escape(stage)}</h2>',
            table("cards", f"Cards of {stage}", HEADINGS, rows(cards), WORDS),
            *(_examples(card) for card in cards if card.samples or card.sentences),
            "</section>",
        ]
    )


def _examples(card: Card) -> str:
    """Samples and sentences of a card."""
    parts = [f"<h3>{escape(f'{card.task} {card.metric}')}</h3>"]
    if card.samples:
        items = [_sample(number, sample) for number, sample in enumerate(card.samples, start=1)]
        parts.append(f'<ol class="samples">\n{_lines(items)}\n</ol>')
    if card.sentences:
        parts.append(_sentences(card.name, card.sentences))
    return _lines(parts)


def _sample(number: int, sample: Shown) -> str:
    """One example: right or wrong first, so that it can be found with the eye."""
    kind, sign = ("right", "✓") if sample.right else ("wrong", "✗")
    shown = ""
    if sample.picture is not None:
        alt = escape(f"Picture of sample {number}, shown to the model")
        shown = f'<img src="{data_uri("image/png", sample.picture)}" alt="{alt}" width="160">\n'
    told = []
    if sample.asked:
        told.append(f"<dt>asked</dt><dd>{escape(sample.asked)}</dd>")
    if sample.sound is not None:
        told.append(_player("played", f"Sound of sample {number}, played to the model", sample.sound))
    told.append(f"<dt>wanted</dt><dd>{escape(sample.wanted) or NOTHING}</dd>")
    told.append(f"<dt>said</dt><dd>{escape(sample.said) or NOTHING}</dd>")
    if sample.spoken is not None:
        told.append(_player("in answer", f"Sound of sample {number}, spoken by the model", sample.spoken))
    return (
        f'<li class="sample {kind}">\n<p><span aria-hidden="true">{sign}</span> {kind}</p>\n'
        f"{shown}<dl>\n{_lines(told)}\n</dl>\n</li>"
    )


def _player(name: str, label: str, sound: bytes) -> str:
    return f'<dt>{name}</dt><dd class="media">{audio(label, sound)}</dd>'


def _sentences(name: str, sentences: Sequence[Mapping[str, Any]]) -> str:
    """All of them, folded; a column for everything that is known of any."""
    columns = list(dict.fromkeys(key for sentence in sentences for key in sentence))
    cells = [tuple(str(sentence.get(key, "")) for key in columns) for sentence in sentences]
    words = {key for key in columns if any(isinstance(sentence.get(key), str) for sentence in sentences)}
    listed = table("sentences", f"Sentences of {name}", columns, cells, words)
    many = f"{len(sentences):,} sentence{'' if len(sentences) == 1 else 's'}"
    return f"<details>\n<summary>{many}</summary>\n{listed}\n</details>"


def _lines(parts: Sequence[str]) -> str:
    return "\n".join(parts)
