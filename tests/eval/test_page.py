"""The page of an evaluation: one file that holds everything, says it safely, and draws it in its place."""

from __future__ import annotations

import re
import subprocess
import sys
from base64 import b64decode
from dataclasses import dataclass, field, replace
from html.parser import HTMLParser

import pytest

from muomni_cli.contract.metrics import HEADINGS, EvalSample, MetricResult, rows
from muomni_cli.eval.report import Axis, Scale, by_scale, page, scale_of

VOID = {"meta", "img", "br", "hr", "input", "link"}
HOSTILE = """<script>alert("1")</script> & 'it'</title></svg><img src=x onerror=alert(1)>"""
PICTURE, SOUND, SPOKEN = b"\x89PNG\r\n\x1a\n picture", b"RIFF played", bytes(range(256))

SAMPLES = (
    EvalSample("what is it?", "a red circle", "a red circle", True, PICTURE),
    EvalSample("and what do you hear?", "seven", "", False, PICTURE + b"2", SOUND, SPOKEN),
)
SENTENCES = ({"text": "one two", "heard": "one too", "edits": 1}, {"text": "three", "heard": "three", "edits": 0})
CARDS = (
    MetricResult("omni", "scenes", "exact", 0.5, 0.25, 0.75, 40, "key", 20, 0.1, 0.9, samples=SAMPLES),
    MetricResult("omni", "scenes", "exchanged", 0.8, 0.7, 0.9, 40, "key", 20),
    MetricResult("talker", "books", "wer_spoken", 0.094, 0.07, 0.12, 100, "sentence", None, 0.97, 0.02, SENTENCES),
    MetricResult("talker", "books", "wer_added", -0.01, -0.03, 0.02, 100, "sentence"),
    MetricResult("talker", "books", "length_median", 1.1),
    MetricResult("codec", "books", "mel_l1", 0.4, 0.3, 0.5, 100, "key", 5),
    MetricResult("thinker", "text", "bits_per_byte", 1.87),
)


@dataclass
class Node:
    """An element, with what is in it."""

    tag: str
    attributes: dict[str, str | None]
    inside: list[Node] = field(default_factory=list)
    own: list[str] = field(default_factory=list)

    def all(self, tag: str, kind: str | None = None) -> list[Node]:
        """Elements below it, in order."""
        found = []
        for node in self.inside:
            if node.tag == tag and (kind is None or kind in (node.attributes.get("class") or "").split()):
                found.append(node)
            found += node.all(tag, kind)
        return found

    @property
    def text(self) -> str:
        return "".join(self.own)


class Tree(HTMLParser):
    """Reads a page, and is strict about what is closed where."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.root = Node("", {})
        self._open = [self.root]
        self.feed(text)
        self.close()
        assert self._open == [self.root], "something is left open"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        names = [name for name, _ in attrs]
        assert len(names) == len(set(names)), f"{tag} has an attribute twice"
        node = Node(tag, dict(attrs))
        self._open[-1].inside.append(node)
        if tag not in VOID:
            self._open.append(node)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._open[-1].inside.append(Node(tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self._open[-1].tag == tag, f"{tag} closes {self._open[-1].tag}"
        self._open.pop()

    def handle_data(self, data: str) -> None:
        for node in self._open:
            node.own.append(data)


def read(results: tuple[MetricResult, ...] = CARDS, title: str = "nano", about: dict[str, str] | None = None) -> Node:
    return Tree(page(title, {"model": "nano", "date": "today"} if about is None else about, results)).root


def everything(root: Node) -> list[Node]:
    return [root, *(below for node in root.inside for below in everything(node))]


def percent(node: Node, name: str) -> float:
    told = node.attributes[name]
    assert told is not None
    assert told.endswith("%")
    return float(told[:-1])


def drawn(results: tuple[MetricResult, ...]) -> list[tuple[float, float, float]]:
    """Low end, dot and high end of each row, in percent of the width."""
    found = []
    for row in read(results).all("g", "card"):
        whisker, (dot,) = row.all("line", "whisker")[0], row.all("circle", "dot")
        found.append((percent(whisker, "x1"), percent(dot, "cx"), percent(whisker, "x2")))
    return found


def test_every_card_is_in_a_table_and_in_a_plot() -> None:
    root = read()
    lines = [[cell.text for cell in line.all("td")] for table in root.all("table", "cards") for line in table.all("tr")]
    assert [tuple(line) for line in lines if line] == rows(CARDS)
    assert all(
        tuple(cell.text for cell in table.all("thead")[0].all("th")) == HEADINGS for table in root.all("table", "cards")
    )
    names = [row.all("text", "name")[0].text for row in root.all("g", "card")]
    assert sorted(names) == sorted(result.name for result in CARDS)
    assert [heading.text for heading in root.all("h2")] == ["Overview", "omni", "talker", "codec", "thinker"]
    assert [cell.text for cell in root.all("table", "about")[0].all("td")] == ["nano", "today"]


def test_every_sample_is_there_with_the_same_bytes() -> None:
    right, wrong = read().all("li", "sample")
    assert "✓ right" in right.text
    assert "✗ wrong" in wrong.text
    for node, sample in ((right, SAMPLES[0]), (wrong, SAMPLES[1])):
        told = [cell.text for cell in node.all("dd") if cell.attributes.get("class") != "media"]
        assert told == [sample.question, sample.expected, sample.answered or "(nothing)"]
        sources = [media.attributes["src"] or "" for media in node.all("img") + node.all("audio")]
        kinds = ["image/png", "audio/wav", "audio/wav"]
        wanted = [data for data in (sample.picture, sample.sound, sample.spoken) if data is not None]
        assert [source.split(";")[0] for source in sources] == [f"data:{kind}" for kind in kinds[: len(wanted)]]
        assert [b64decode(source.split(",")[1], validate=True) for source in sources] == wanted


def test_a_sample_of_nothing_but_an_answer_has_no_empty_places() -> None:
    (sample,) = read((replace(CARDS[0], samples=(EvalSample("", "seven", "nine", False),)),)).all("li", "sample")
    assert not sample.all("img") + sample.all("audio")
    assert [name.text for name in sample.all("dt")] == ["expected", "answer"]


def test_sentences_are_folded_tables() -> None:
    (folded,) = read().all("details")
    assert folded.all("summary")[0].text == "2 sentences"
    assert [cell.text for cell in folded.all("th")] == ["text", "heard", "edits"]
    assert [cell.text for cell in folded.all("td")] == ["one two", "one too", "1", "three", "three", "0"]


def test_sentences_of_which_different_things_are_known_share_a_table() -> None:
    (folded,) = read((replace(CARDS[2], sentences=({"text": "a"}, {"heard": "b"})),)).all("details")
    assert [cell.text for cell in folded.all("td")] == ["a", "", "", "b"]


def test_whatever_is_given_stays_text() -> None:
    sample = EvalSample(HOSTILE, HOSTILE, HOSTILE, True, PICTURE, SOUND, SPOKEN)
    sentence = {HOSTILE: HOSTILE}
    result = MetricResult(HOSTILE, HOSTILE, HOSTILE, 0.5, unit=HOSTILE, samples=[sample], sentences=[sentence])
    root = read((result,), HOSTILE, {HOSTILE: HOSTILE})
    plain = read(
        (MetricResult("a", "b", "c", 0.5, unit="d", samples=[sample], sentences=[{"e": "f"}]),), "g", {"h": "i"}
    )
    assert [node.tag for node in everything(root)] == [node.tag for node in everything(plain)]
    assert [list(node.attributes) for node in everything(root)] == [list(node.attributes) for node in everything(plain)]
    assert root.all("h1")[0].text == root.all("title")[0].text == root.all("dd")[0].text == HOSTILE


def test_nothing_comes_from_elsewhere() -> None:
    text, root = page("nano", {}, CARDS), read()
    assert "://" not in text
    assert "url(" not in text
    assert "@import" not in text
    named = {node.attributes["id"] for node in everything(root) if "id" in node.attributes}
    for node in everything(root):
        assert node.tag not in ("script", "link", "iframe", "object", "embed", "base", "form")
        assert not any(name.startswith("on") for name in node.attributes)
        assert (node.attributes.get("src") or "data:").startswith("data:")
        assert node.tag != "a" or (node.attributes["href"] or "")[1:] in named
    policy = next(node for node in root.all("meta") if "http-equiv" in node.attributes)
    assert (policy.attributes["content"] or "").startswith("default-src 'none'")


def test_it_can_be_used_without_seeing() -> None:
    root = read()
    assert root.all("html")[0].attributes["lang"] == "en"
    assert all(picture.attributes["alt"] for picture in root.all("img"))
    assert all(node.attributes["aria-label"] for node in root.all("audio") + root.all("svg", "plot"))
    assert all(cell.attributes["scope"] in ("col", "row") for cell in root.all("th"))
    named = [node.attributes["id"] for node in everything(root) if "id" in node.attributes]
    assert len(named) == len(set(named))


def test_places_are_in_the_order_of_the_values() -> None:
    values = [0.0, 0.05, 0.3, 0.31, 0.9, 1.0]
    for metric in ("exact", "wer_spoken"):
        results = tuple(
            MetricResult("a", f"t{value}", metric, value, max(0, value - 0.1), min(1, value + 0.05), 50)
            for value in values
        )
        places = drawn(results)
        assert [dot for _, dot, _ in places] == sorted(dot for _, dot, _ in places)
        assert all(0 <= low <= dot <= high <= 100 for low, dot, high in places)
        assert len({dot for _, dot, _ in places}) == len(values)
        wanted = [100 * place for value in values for place in (max(0, value - 0.1), value, min(1, value + 0.05))]
        assert [place for row in places for place in row] == pytest.approx(wanted)


def test_baseline_and_ceiling_are_where_they_should_be() -> None:
    row = read().all("g", "card")[0]
    ticks = {mark.inside[0].attributes["class"]: percent(mark, "x") for mark in row.all("svg", "at")}
    assert ticks == {"baseline": 10, "topline": 90}
    assert not read().all("g", "card")[1].all("svg", "at")


def test_what_means_something_else_has_a_plot_of_its_own() -> None:
    figures = [
        {row.all("text", "name")[0].text.split()[-1] for row in figure.all("g", "card")}
        for figure in read().all("figure")
    ]
    assert figures == [
        {"exact", "exchanged"},
        {"wer_spoken", "wer_added"},
        {"length_median"},
        {"mel_l1"},
        {"bits_per_byte"},
    ]


def test_a_metric_that_nobody_knows_is_a_share_only_if_it_can_be_one() -> None:
    share, other = scale_of(MetricResult("a", "b", "polite", 0.5, n=10)), Scale("polite")
    assert share == scale_of(CARDS[0])
    assert (
        scale_of(MetricResult("a", "b", "polite", 0.5))
        == scale_of(MetricResult("a", "b", "polite", 1.5, n=10))
        == other
    )
    assert len(by_scale([MetricResult("a", "b", "polite", 2.0), MetricResult("a", "b", "brief", 2.0)])) == 2


@pytest.mark.parametrize("value", [0.0, 1e-6, 0.013, 0.5, 1.0, 7.3, 12345.0, -0.2, -40.0])
def test_an_axis_holds_zero_and_the_value_in_few_round_steps(value: float) -> None:
    axis = Axis.of(Scale("x"), [MetricResult("a", "b", "x", value)])
    assert 2 <= len(axis.numbers) <= 8
    assert min(axis.numbers) <= min(value, 0) + 1e-12
    assert max(axis.numbers) >= max(value, 0) - 1e-12
    assert 0 <= axis.place(value) <= 100 + 1e-9
    steps = {f"{high - low:.3g}" for low, high in zip(axis.numbers, axis.numbers[1:], strict=False)}
    assert len(steps) == 1


def test_what_is_no_number_is_told_and_not_drawn() -> None:
    (row,) = read((MetricResult("thinker", "text", "loss", float("nan"), baseline=float("inf")),)).all("g", "card")
    assert row.all("text", "value")[0].text == "nan"
    assert not row.all("circle") + row.all("svg")


def test_a_long_name_is_cut_where_it_is_drawn_and_whole_where_it_is_told() -> None:
    (row,) = read((MetricResult("omni", "scenes/" + "long" * 20, "exact", 0.5, n=1),)).all("g", "card")
    assert row.all("text", "name")[0].text.endswith("…")
    assert "long" * 20 in row.all("title")[0].text


def test_no_cards_give_a_page_that_says_so() -> None:
    root = read((), about={})
    assert "no metrics" in root.text
    assert not root.all("table") + root.all("svg") + root.all("nav")


def test_the_same_cards_give_the_same_page() -> None:
    assert page("nano", {"a": "b"}, CARDS) == page("nano", {"a": "b"}, list(CARDS))


def test_it_needs_no_torch() -> None:
    code = "import sys, muomni_cli.eval.report; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_it_looks_well_by_day_and_by_night_and_on_a_phone() -> None:
    text = page("nano", {}, CARDS)
    assert "prefers-color-scheme: dark" in text
    assert "width=device-width" in text
    used = set(re.findall(r"var\((--\w+)\)", text))
    dark = "".join(re.findall(r"@media \(prefers-color-scheme: dark\) \{\n.*?\n\}", text, re.DOTALL))
    light = text.replace(dark, "")
    assert all(f"{name}:" in light and f"{name}:" in dark for name in used)
