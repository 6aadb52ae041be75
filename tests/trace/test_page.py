"""``muomni trace --html``: one page that holds every step and its pictures, safely, and fetches nothing."""

from __future__ import annotations

import base64
import io
import re
import shutil
import subprocess
import wave
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from PIL import Image
from runs_of_tiny_parts import CODEC, make_run, make_voice

from muomni_cli.api import FileMedia
from muomni_cli.models.engines import modalities_of, open_run
from muomni_cli.runs.run import RunFolder
from muomni_cli.trace.page import page, player
from muomni_cli.trace.pictures import captured, heat_map, waveform, weights_of
from muomni_cli.trace.request import Trace
from muomni_cli.trace.trace import trace_question, trace_speech

Command = Callable[..., tuple[int, str, str]]
HOSTILE = """<script>alert("1")</script> & 'it'</title></svg><img src=x onerror=alert(1)>"""
VOID = {"meta", "img", "br"}


class Parsed(HTMLParser):
    """Tags with their attributes; every element is closed where it was opened."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self._open: list[str] = []
        self.feed(text)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data

    def of(self, tag: str, kind: str | None = None) -> list[dict[str, str | None]]:
        return [own for name, own in self.tags if name == tag and kind in (None, own.get("class"))]


def tiny_trace(here: Path, text: str = "hello") -> tuple[Trace, str]:
    """A question with an image and a sound to one tiny model, spoken by another; and the page."""
    make_run(here / "runs" / "tiny", modalities=("image", "audio"), template="roles")
    make_voice(here, CODEC)
    media = [FileMedia("image", Path("x.png")), FileMedia("audio", Path("y.wav"))]
    engine = open_run(RunFolder(Path("runs/tiny")), device="cpu")
    question = trace_question(engine, text, media, 3, lambda _: None, attention=True)
    speech = trace_speech(open_run(RunFolder(Path("runs/small")), device="cpu"), "one two")
    trace = Trace(question, speech)
    configs = {modality: sense.config for modality, sense in modalities_of(engine).items()}
    return trace, page(trace, configs, {"question": text}, modules=True)


def picture(uri: str | None) -> Image.Image:
    assert uri is not None
    return Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2])))


def test_the_page_has_every_step_and_every_picture(here: Path) -> None:
    trace, text = tiny_trace(here)
    parsed = Parsed(text)
    assert len(parsed.of("td", "shape")) == len(trace.steps)
    assert [parsed.text.count(step.title) > 0 for step in trace.steps] == [True] * len(trace.steps)
    headings = [own["id"] for own in parsed.of("h2")]
    assert headings == [f"section-{n}" for n in range(1, len(headings) + 1)]
    assert [own["href"] for own in parsed.of("a")] == [f"#{name}" for name in headings]
    kinds = [own["class"] for own in parsed.of("figure") if "class" in own]
    assert kinds == [
        "image", "sound", "mel", "sequence", "attention", "attention", "attention", "probabilities", "codes", "mel",
        "sound",
    ]  # fmt: skip
    assert all(own["alt"] for own in parsed.of("img"))
    assert len(parsed.of("path", "grid")) == 1
    assert "4 patches of 16 x 16" in parsed.text
    assert len(text) < 1_000_000


def test_pictures_and_sounds_are_those_of_the_arrays(here: Path) -> None:
    trace, text = tiny_trace(here)
    parsed = Parsed(text)
    assert trace.question is not None
    assert trace.speech is not None
    count = len(trace.question.tokens)
    (layer,) = trace.question.attention
    assert layer.shape == (2, count, count)
    assert np.allclose(layer.sum(-1), 1, atol=1e-5)
    assert not np.triu(layer, 1).any()
    sizes = [picture(own["src"]).size for own in parsed.of("img", "heat")]
    frames, books = trace.speech.codes.shape
    assert sizes == [(100, 32), *3 * [(count, count)], (frames, books), (trace.speech.mel.shape[0], 20)]
    assert picture(parsed.of("image")[0]["href"]).size == (32, 32)
    spoken = str(parsed.of("audio")[-1]["src"])
    with wave.open(io.BytesIO(base64.b64decode(spoken.partition(",")[2]))) as file:
        assert (file.getframerate(), file.getnframes()) == (8000, trace.speech.wave.size)
    strips = re.findall(r'<div class="segments".*?</div>', text)
    assert len(strips) == 3
    assert re.findall(r"flex:(\d+)", strips[0]) == [str(size) for _, size in trace.question.layout]


def test_text_is_escaped_and_nothing_comes_from_elsewhere(here: Path) -> None:
    _, text = tiny_trace(here, HOSTILE)
    assert "<script" not in text
    assert "<img src=x" not in text
    parsed = Parsed(text)
    assert HOSTILE in parsed.text
    for _, own in parsed.tags:
        for name in ("src", "href"):
            assert str(own.get(name, "#")).startswith(("#", "data:"))
        assert not any(name.startswith("on") for name in own)
    assert not re.search(r"url\(|@import|https?:", text)
    assert any("default-src 'none'" in str(own.get("content")) for own in parsed.of("meta"))


def test_it_looks_well_by_day_and_by_night(here: Path) -> None:
    _, text = tiny_trace(here)
    dark = "".join(re.findall(r"@media \(prefers-color-scheme: dark\) \{\n.*?\n\}", text, re.DOTALL))
    used = set(re.findall(r"var\((--\w+)\)", text))
    assert all(f"{name}:" in dark and f"{name}:" in text.replace(dark, "") for name in used)


def test_a_thinker_without_such_attention_is_told_of(here: Path) -> None:
    trace, _ = tiny_trace(here)
    assert trace.question is not None
    bare = replace(trace, question=replace(trace.question, inputs=[], attention=[]), speech=None)
    for modules, why in ((True, "does not compute its attention"), (False, "graphs of a bundle")):
        parsed = Parsed(page(bare, {}, {}, modules=modules))
        assert len(parsed.of("p", "attention")) == 1
        assert why in parsed.text
        assert [own["class"] for own in parsed.of("figure")] == ["sequence", "probabilities"]


@pytest.mark.parametrize(
    ("words", "file"),
    [
        (("hi", "--html"), "trace.html"),
        (("--html", "hi"), "trace.html"),
        (("--html", "a/b.html", "hi"), "a/b.html"),
        (("--html=c.txt", "hi"), "c.txt"),
    ],
)
def test_the_command_writes_a_page(words: tuple[str, ...], file: str, here: Path, muomni: Command) -> None:
    make_run(here / "runs" / "tiny")
    code, out, err = muomni(*words, "-m", "tiny", "--tokens", "1")
    assert (code, out) == (0, "")
    assert f"wrote {file}: open it in a browser" in err
    parsed = Parsed((here / file).read_text("utf-8"))
    assert len(parsed.of("figure", "attention")) == 3


def test_the_page_comes_beside_json(here: Path, muomni: Command) -> None:
    make_run(here / "runs" / "tiny")
    code, out, _ = muomni("hi", "-m", "tiny", "--html", "--json")
    assert code == 0
    assert out.startswith("[")
    assert (here / "trace.html").is_file()
    (here / "page.html").mkdir()
    code, _, err = muomni("hi", "-m", "tiny", "--html", "page.html")
    assert code != 0
    assert "page.html" in err
    assert "Traceback" not in err


def test_captured_weights_are_those_of_the_kernel() -> None:
    query, key, value = torch.randn(1, 4, 5, 8), torch.randn(1, 2, 5, 8), torch.randn(1, 2, 5, 8)
    mask = torch.rand(5, 5) > 0.3
    mask.fill_diagonal_(True)
    with captured() as found:
        made = [
            F.scaled_dot_product_attention(query, key, value, is_causal=True, enable_gqa=True),
            F.scaled_dot_product_attention(query, key, value, attn_mask=mask, enable_gqa=True, scale=0.5),
            F.scaled_dot_product_attention(query, key, value, attn_mask=torch.randn(5, 5), enable_gqa=True),
        ]
    F.scaled_dot_product_attention(query, query, query)
    assert len(found) == 3
    wide = value.repeat_interleave(2, dim=1)[0]
    for one, mixed in zip(found, made, strict=True):
        assert torch.allclose(torch.from_numpy(one) @ wide, mixed[0], atol=1e-5)
    assert weights_of(query, query, query).shape == (1, 4, 5, 5)


def test_large_arrays_become_small_pictures() -> None:
    own = re.search(r'src="([^"]*)"', heat_map(np.random.default_rng(0).normal(size=(300, 5000)), "noise"))
    assert own is not None
    assert picture(own[1]).size == (600, 256)
    assert "nan" not in heat_map(np.zeros((1, 1)), "flat")
    assert waveform(np.zeros(3), "short").count("V") == 3
    assert len(waveform(np.ones(100_000), "long")) < 20_000
    played = player("noise", np.zeros(1000), 8000, 500)
    assert "The page contains the first 0.0 s." in played
    assert len(base64.b64decode(played.partition("base64,")[2].partition('"')[0])) == 44 + 500


CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")


@pytest.mark.skipif(CHROMIUM is None, reason="needs a browser: chromium or google-chrome")
@pytest.mark.slow
def test_a_browser_draws_it(here: Path) -> None:
    _, text = tiny_trace(here)
    (here / "page.html").write_text(text, "utf-8")
    subprocess.run(
        [str(CHROMIUM), "--headless", "--no-sandbox", "--disable-gpu", "--screenshot=page.png",
         "--window-size=900,4000", (here / "page.html").as_uri()],
        check=True, capture_output=True, timeout=120,
    )  # fmt: skip
    assert len(np.unique(np.asarray(Image.open(here / "page.png").convert("RGB")).reshape(-1, 3), axis=0)) > 100
