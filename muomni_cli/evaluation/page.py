"""Cards as one HTML file, to look at and to listen to. Knows no model.

Nothing in it comes from elsewhere: pictures and sounds are data URIs, and the page forbids itself to fetch anything.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

from muomni_cli.contract.cards import HEADINGS, Card, Shown, rows
from muomni_cli.evaluation.page_plots import legend, plots
from muomni_cli.evaluation.page_style import STYLE

POLICY = "default-src 'none'; img-src data:; media-src data:; style-src 'unsafe-inline'"

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
    body = [f"<h1>{escape(title)}</h1>", *([_about(about)] if about else [])]
    if cards:
        body.append(_overview(stages, cards))
    else:
        body.append("<p>There are no cards: nothing was evaluated.</p>")
    for place, stage in enumerate(stages):
        body.append(_section(place, stage, [card for card in cards if card.stage == stage]))
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{escape(POLICY)}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<main>\n"
        + _lines(body)
        + "\n</main>\n</body>\n</html>\n"
    )


def _about(about: Mapping[str, str]) -> str:
    lines = [f'<tr><th scope="row">{escape(name)}</th><td>{escape(told)}</td></tr>' for name, told in about.items()]
    return f'<table class="about">\n<tbody>\n{_lines(lines)}\n</tbody>\n</table>'


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
            _table("cards", f"Cards of {stage}", HEADINGS, rows(cards), WORDS),
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
        shown = f'<img src="{_uri("image/png", sample.picture)}" alt="{alt}" width="160">\n'
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
    uri = _uri("audio/wav", sound)
    player = f'<audio controls preload="metadata" aria-label="{escape(label)}" src="{uri}"></audio>'
    return f'<dt>{name}</dt><dd class="media">{player}</dd>'


def _sentences(name: str, sentences: Sequence[Mapping[str, Any]]) -> str:
    """All of them, folded; a column for everything that is known of any."""
    columns = list(dict.fromkeys(key for sentence in sentences for key in sentence))
    cells = [tuple(str(sentence.get(key, "")) for key in columns) for sentence in sentences]
    words = {key for key in columns if any(isinstance(sentence.get(key), str) for sentence in sentences)}
    table = _table("sentences", f"Sentences of {name}", columns, cells, words)
    many = f"{len(sentences):,} sentence{'' if len(sentences) == 1 else 's'}"
    return f"<details>\n<summary>{many}</summary>\n{table}\n</details>"


def _table(kind: str, label: str, headings: Sequence[str], cells: Iterable[Sequence[str]], words: Iterable[str]) -> str:
    """A table that is scrolled sideways, also by the keyboard, where the screen is too narrow."""
    sides = ["" if heading in words else ' class="figure"' for heading in headings]
    head = "".join(f'<th scope="col"{side}>{escape(name)}</th>' for side, name in zip(sides, headings, strict=True))
    lines = [
        "<tr>" + "".join(f"<td{side}>{escape(cell)}</td>" for side, cell in zip(sides, row, strict=True)) + "</tr>"
        for row in cells
    ]
    return (
        f'<div class="wide" role="region" tabindex="0" aria-label="{escape(label)}">\n<table class="{kind}">\n'
        f"<thead><tr>{head}</tr></thead>\n<tbody>\n{_lines(lines)}\n</tbody>\n</table>\n</div>"
    )


def _uri(kind: str, data: bytes) -> str:
    return f"data:{kind};base64,{b64encode(data).decode('ascii')}"


def _lines(parts: Sequence[str]) -> str:
    return "\n".join(parts)
