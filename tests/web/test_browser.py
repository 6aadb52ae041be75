"""A site of nano in Chromium: the tokens and samples of Python, and the page by mouse, keyboard, axe and without a
network. Chromium is the system's; onnxruntime for browsers comes from npm."""

from __future__ import annotations

import functools
import http.server
import shutil
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect, sync_playwright

from muomni_cli import app, load
from muomni_onnx.golden import Reference, golden_text
from muomni_onnx.runtime import OnnxModel
from muomni_web import onnxruntime_files

pytestmark = [pytest.mark.external, pytest.mark.browser]

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
LONG = 180_000  # ms: most of it is for busy machines
SENTENCE = "the quick brown fox jumps over the lazy dog."
RUN = """async ({prompt, count, sentence}) => {
  const muomni = await import("/muomni-web.js");
  const ort = await import("/ort/ort.wasm.min.mjs");
  ort.env.wasm.numThreads = 1;
  ort.env.wasm.wasmPaths = new URL("/ort/", location.href).href;
  const model = await muomni.load("/bundle/", { ort });
  const thinker = await model.thinker();
  const ids = [...prompt];
  while (ids.length < prompt.length + count) {
    const { logits } = await thinker.predict(ids);
    ids.push(logits.reduce((best, value, at) => (value > logits[best] ? at : best), 0));
  }
  const speech = await model.speak(sentence);
  return { tokens: ids.slice(prompt.length), samples: [...speech.samples], rate: speech.rate };
}"""


@dataclass(frozen=True)
class Site:
    """A served site: its folder, its address and the server, which may be stopped."""

    folder: Path
    url: str
    server: http.server.ThreadingHTTPServer

    def stop(self) -> None:
        self.server.shutdown()
        self.server.server_close()


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: Any) -> None: ...


@pytest.fixture(scope="session")
def folder(package: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("web") / "site"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(onnxruntime_files.FOLDER, str(package / "node_modules" / "onnxruntime-web"))
        with pytest.raises(SystemExit) as left:
            app.main(["export", "--web", "-m", "nano", "-o", str(made)])
    assert left.value.code in (None, 0)
    return made


@pytest.fixture
def site(folder: Path) -> Iterator[Site]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    served = Site(folder, f"http://127.0.0.1:{server.server_port}", server)
    yield served
    served.stop()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    if CHROMIUM is None:
        pytest.skip("Chromium is not installed: apt install chromium")
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=CHROMIUM)
        yield opened
        opened.close()


@pytest.fixture
def page(browser: Browser, site: Site) -> Iterator[Page]:
    """The page with the model ready, which must log no error and ask no other server."""
    context = browser.new_context(viewport={"width": 1100, "height": 800})
    opened = context.new_page()
    opened.set_default_timeout(LONG)
    problems: list[str] = []
    opened.on("pageerror", lambda error: problems.append(str(error)))
    opened.on("console", lambda message: problems.append(message.text) if message.type == "error" else None)
    opened.on("request", lambda one: None if one.url.startswith((site.url, "blob:")) else problems.append(one.url))
    opened.goto(site.url)
    expect(opened.locator("#question")).to_be_visible(timeout=LONG)
    yield opened
    context.close()
    assert problems == []


def test_tokens_and_samples_are_those_of_python(page: Page, site: Site) -> None:
    with load(str(site.folder / "bundle")) as model:
        engine = model.engine
        assert isinstance(engine, OnnxModel)
        prompt = Reference(Path(__file__).parents[2] / "plugins" / "muomni_nano" / "bundle").get("text/prompt")
        assert prompt is not None
        wanted = golden_text(engine.backend(), prompt).values.tolist()[:64]
        samples, rate = model.speak(SENTENCE)
    made = page.evaluate(RUN, {"prompt": prompt.tolist(), "count": len(wanted), "sentence": SENTENCE})
    assert made["tokens"] == wanted
    assert made["rate"] == rate
    heard = np.array(made["samples"], np.float32)
    assert heard.shape == samples.shape
    assert np.linalg.norm(heard - samples) < 0.02 * np.linalg.norm(samples)
    assert np.abs(heard).max() > 0.05


def test_a_conversation_by_keyboard_and_what_axe_says(page: Page) -> None:
    page.locator("#question").press("Tab")
    page.locator("#question").fill("tell me a story")
    page.locator("#question").press("Enter")
    expect(page.locator(".turn.theirs .fine")).to_have_count(1, timeout=LONG)
    assert page.locator(".turn.theirs .text").inner_text().strip()
    page.locator("#ideas button, #new").first.wait_for(state="attached")
    for scheme, width in (("light", 1100), ("dark", 390)):
        page.emulate_media(color_scheme=scheme)
        page.set_viewport_size({"width": width, "height": 844})
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        for tab in ("chat", "speak", "transcribe"):
            page.locator(f"#tab-{tab}").click()
            expect(page.locator(f"#panel-{tab}")).to_be_visible()
            report = Axe().run(page, options={"runOnly": ["wcag2a", "wcag2aa", "wcag21aa", "wcag22aa"]})
            assert report.violations_count == 0, report.generate_report()
    page.locator("#tab-transcribe").press("Home")
    expect(page.locator("#tab-chat")).to_be_focused()
    page.locator("#tab-chat").press("ArrowLeft")
    expect(page.locator("#panel-transcribe")).to_be_visible()


def test_a_picture_is_seen_and_speech_is_saved_and_written_down(page: Page, tmp_path: Path) -> None:
    page.locator("#ideas button").first.click()
    expect(page.locator(".turn.theirs .fine")).to_have_count(1, timeout=LONG)
    assert "red" in page.locator(".turn.theirs .text").inner_text()
    page.locator("#tab-speak").click()
    page.locator("#say").fill("yes. no. yes.")
    page.locator("#say-it").click()
    with page.expect_download() as saved:
        page.locator("#save").click()
    saved.value.save_as(tmp_path / "said.wav")
    page.locator("#tab-transcribe").click()
    page.locator("#hear-input").set_input_files(tmp_path / "said.wav")
    expect(page.locator("#hear-note")).to_contain_text(" ms", timeout=LONG)
    with load("nano") as model:
        words = [word.text for word in model.words(str(tmp_path / "said.wav"))]
    assert page.locator("#heard").inner_text().split() == words
    page.locator("#hear-input").set_input_files(__file__)
    expect(page.locator("#notice")).to_contain_text("cannot be read")


def test_the_site_works_without_a_network_once_it_was_open(page: Page, site: Site) -> None:
    expect(page.locator("#offline")).to_contain_text("offline", timeout=LONG)
    site.stop()
    page.reload()
    expect(page.locator("#question")).to_be_visible(timeout=LONG)
    page.locator("#question").fill("hello")
    page.locator("#question").press("Enter")
    expect(page.locator(".turn.theirs .fine")).to_have_count(1, timeout=LONG)
