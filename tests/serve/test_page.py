"""The page at / in a real browser: it types, shows a picture, talks and listens, with keyboard and axe, on a phone too.

Chromium is the system's; nothing is downloaded.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any

import httpx
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect, sync_playwright

from muomni_serve.page import FILES, POLICY
from tests.serve.conftest import SAMPLES
from tests.serve.running import LONG as VERY_LONG
from tests.serve.running import Served, serving

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
LONG = 60_000  # ms: most of it is for busy machines
PHONE = {"width": 390, "height": 844}


def test_the_files_are_all_that_there_are(served: Served) -> None:
    folder = files("muomni_serve").joinpath("static")
    assert {one.name for one in folder.iterdir()} == {*FILES, "index.html"}
    for name in ("", *(f"page/{name}" for name in FILES)):
        answer = httpx.get(f"{served.url}/{name}")
        assert answer.status_code == 200, name
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        again = httpx.get(f"{served.url}/{name}", headers={"If-None-Match": answer.headers["etag"]})
        assert (again.status_code, again.content) == (304, b"")
        outside = re.findall(r"(?:https?:)?//[\w.-]+\.\w+", answer.text)
        assert [url for url in outside if "www.w3.org" not in url] == [], name
    assert httpx.get(f"{served.url}/page/page.py").status_code == 404
    assert POLICY["script-src"] == POLICY["connect-src"] == "'self'"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    if CHROMIUM is None:
        pytest.skip("Chromium is not installed: apt install chromium")
    options = [
        "--use-fake-ui-for-media-stream",
        "--use-fake-device-for-media-stream",
        f"--use-file-for-fake-audio-capture={SAMPLES / 'y.wav'}",
    ]
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=CHROMIUM, args=options)
        yield opened
        opened.close()


@pytest.fixture
def page(browser: Browser, served: Served) -> Iterator[Page]:
    """The page, which must log no error and ask no other server."""
    context = browser.new_context(permissions=["microphone", "camera"])
    opened = context.new_page()
    opened.set_default_timeout(LONG)
    problems: list[str] = []
    opened.on("pageerror", lambda error: problems.append(str(error)))
    opened.on("console", lambda message: problems.append(message.text) if message.type == "error" else None)
    opened.on("request", lambda one: None if _own(one.url, served.url) else problems.append(one.url))
    opened.goto(served.url)
    expect(opened.locator("#ideas li")).to_have_count(3, timeout=LONG)
    yield opened
    context.close()
    assert problems == []


def _own(url: str, server: str) -> bool:
    return url.startswith((f"{server}/", "blob:", "data:"))


def answered(page: Page, count: int = 1) -> str:
    """The last answer, once ``count`` are complete."""
    done = page.locator(".turn.theirs:not(.busy)")
    expect(done).to_have_count(count, timeout=LONG)
    return done.last.locator(".text").inner_text()


def watch_marks(page: Page) -> None:
    """From now on, ``marked`` holds the words that are marked because they are heard, in order. The page gets each
    answer when it is complete, so that a machine that speaks more slowly than in real time can be watched too."""
    page.route("**/v1/*/*", lambda route: route.fulfill(response=route.fetch()))
    code = """() => {
        window.marked = [];
        let last = null;
        const look = () => {
            const now = document.querySelector(".word.now");
            if (now && now.textContent !== last) marked.push(now.textContent);
            if (now) last = now.textContent;
            requestAnimationFrame(look);
        };
        look();
    }"""
    page.evaluate(code)


def marked(page: Page, text: str) -> int:
    """How many words were marked, which must be words of ``text`` in order; a slow browser may skip some."""
    words = iter(text.split())
    found = page.evaluate("marked")
    assert all(word in words for word in found), (found, text)
    return len(found)


def drawn(page: Page, canvas: str) -> int:
    """Bright pixels of a spectrogram."""
    code = """id => {
        const canvas = document.getElementById(id);
        const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
        let count = 0;
        for (let i = 0; i < data.length; i += 4) count += data[i] > 120;
        return count;
    }"""
    return int(page.evaluate(code, canvas))


def duration(page: Page, turn: str) -> float:
    """Seconds of the last sound in turns of a kind, once the browser has read it."""
    code = """async selector => {
        const sound = [...document.querySelectorAll(selector)].at(-1);
        for (let i = 0; i < 300 && sound.readyState < 1; i++) await new Promise(done => setTimeout(done, 100));
        return sound.duration;
    }"""
    return float(page.evaluate(code, f".turn.{turn} audio"))


def clean(page: Page) -> None:
    """Nothing that axe finds wrong, after animations."""
    page.wait_for_timeout(300)
    found = Axe().run(page)
    assert found.violations_count == 0, found.generate_report()


@pytest.mark.browser
def test_a_picture_is_asked_about_and_the_answer_is_heard(page: Page) -> None:
    watch_marks(page)
    page.set_input_files("#picture", SAMPLES / "x.png")
    expect(page.get_by_alt_text("The attached picture")).to_be_visible()
    page.fill("#question", "What do you see?")
    page.press("#question", "Enter")
    said = answered(page)
    assert marked(page, said) >= 3
    page.unroute_all()
    assert said == "A big purple triangle is left of a blue star."
    assert page.evaluate("document.querySelector('.turn.theirs audio').src").startswith("blob:")
    assert duration(page, "theirs") > 1
    tokens = page.locator("#tokens li:not(.special)").all_inner_texts()
    assert "".join(tokens).replace("·", " ") == said
    for figure in ("first-token", "token-rate", "first-sound", "speech-rate"):
        assert re.match(r"\d", page.locator(f"#{figure}").inner_text()), figure
    assert drawn(page, "spoken") > 100
    assert drawn(page, "heard") == 0
    expect(page.locator("#depends")).to_contain_text("Most at 25 % from the left and 58 % from the top.")
    assert page.evaluate("(({ width, height }) => [width, height])(document.querySelector('#seen canvas'))") == [6, 6]
    page.fill("#question", "What color is the star?")  # the picture is still part of the conversation
    page.click("#send")
    assert "blue" in answered(page, 2).lower()
    page.click("#new")
    expect(page.locator(".turn")).to_have_count(0)


@pytest.mark.browser
def test_a_picture_is_taken_dropped_and_removed(page: Page) -> None:
    attached = page.get_by_alt_text("The attached picture")
    page.click("#camera")
    expect(page.get_by_role("dialog")).to_be_visible()
    page.click("#shoot")
    expect(attached).to_be_visible(timeout=LONG)
    page.get_by_role("button", name="Remove the picture").click()
    expect(attached).to_be_hidden()
    drop = """bytes => {
        const data = new DataTransfer();
        data.items.add(new File([new Uint8Array(bytes)], "x.png", { type: "image/png" }));
        dispatchEvent(new DragEvent("drop", { dataTransfer: data, cancelable: true }));
    }"""
    page.evaluate(drop, list((SAMPLES / "x.png").read_bytes()))
    expect(attached).to_be_visible(timeout=LONG)
    page.set_input_files("#picture", SAMPLES / "y.wav")
    expect(page.get_by_role("alert")).to_contain_text("no picture")
    expect(attached).to_be_visible()


@pytest.mark.browser
def test_a_model_that_only_speaks_or_transcribes_does_that(browser: Browser) -> None:
    with serving() as server:
        able = server.service.models["nano"].entry.capabilities
        able[:] = ["speak", "transcribe"]
        context = browser.new_context(permissions=["microphone"])
        page = context.new_page()
        page.goto(server.url)
        watch_marks(page)
        page.get_by_placeholder("Type what to say").fill("hello there")
        page.press("#question", "Enter")
        assert answered(page) == "hello there"
        assert marked(page, "hello there") >= 1
        page.unroute_all()
        assert drawn(page, "spoken") > 100
        page.fill("#question", VERY_LONG)
        page.press("#question", "Enter")
        expect(page.locator("#first-sound")).to_contain_text("s", timeout=LONG)
        page.keyboard.press("Escape")
        answered(page, 2)
        assert 0 < duration(page, "theirs") < 60
        expect(page.locator("#attach")).to_be_hidden()
        page.get_by_role("button", name="Talk").click()
        page.wait_for_timeout(1500)
        page.get_by_role("button", name="Talk").click()
        expect(page.locator(".turn.mine .heard")).to_contain_text("seven", timeout=LONG)
        context.close()


@pytest.mark.browser
def test_what_is_said_is_recorded_sent_and_transcribed(page: Page) -> None:
    page.uncheck("#speak", force=True)
    talk = page.get_by_role("button", name="Talk")
    talk.hover()
    page.mouse.down()
    expect(talk).to_have_attribute("aria-pressed", "true")
    page.wait_for_timeout(1500)
    page.mouse.up()
    expect(talk).to_have_attribute("aria-pressed", "false")
    assert answered(page)
    expect(page.locator(".turn.mine .heard")).to_contain_text("seven", timeout=LONG)
    assert drawn(page, "heard") > 100
    assert duration(page, "mine") > 0.5
    talk.focus()  # the same by keyboard: a short press starts, another one sends
    page.keyboard.press("Enter")
    expect(talk).to_have_attribute("aria-pressed", "true")
    page.wait_for_timeout(800)
    page.keyboard.press("Enter")
    assert answered(page, 2)


@pytest.mark.browser
def test_the_keyboard_is_enough(page: Page) -> None:
    page.keyboard.press("Tab")
    expect(page.locator(".skip")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("#question")).to_be_focused()
    page.keyboard.type("Tell me a story")
    page.keyboard.press("Enter")
    assert answered(page)
    expect(page.locator("#send")).to_be_visible()
    expect(page.locator("#question")).to_be_focused()


@pytest.mark.browser
@pytest.mark.parametrize(("scheme", "size"), [("light", None), ("dark", None), ("dark", PHONE)])
def test_axe_finds_nothing(browser: Browser, served: Served, scheme: Any, size: Any) -> None:
    context = browser.new_context(color_scheme=scheme, viewport=size or {"width": 1280, "height": 800})
    page = context.new_page()
    page.goto(served.url)
    expect(page.locator("#ideas li")).to_have_count(3, timeout=LONG)
    clean(page)
    page.uncheck("#speak", force=True)
    page.locator("#ideas button").first.click()
    answered(page)
    clean(page)
    assert page.evaluate("document.scrollingElement.scrollWidth <= innerWidth")
    if size is not None:
        expect(page.locator("#trace")).to_be_hidden()
        page.click("#trace-toggle")
        expect(page.locator("#trace")).to_be_visible()
        clean(page)
        page.click("#trace-toggle")
    page.click("#settings-open")
    clean(page)
    page.get_by_label("light").check()
    assert page.evaluate("getComputedStyle(document.documentElement).colorScheme") == "light"
    context.close()


@pytest.mark.browser
def test_a_key_is_asked_for(browser: Browser, tmp_path: Path) -> None:
    with serving(api_key="secret") as server:
        context = browser.new_context()
        page = context.new_page()
        page.goto(server.url)
        dialog = page.get_by_role("dialog")
        expect(dialog).to_be_visible(timeout=LONG)
        clean(page)
        page.get_by_label("Key", exact=True).fill("wrong")
        page.keyboard.press("Enter")
        expect(page.locator("#key-wrong")).to_be_visible(timeout=LONG)
        page.get_by_label("Key", exact=True).fill("secret")
        page.keyboard.press("Enter")
        expect(page.locator("#ideas li")).to_have_count(3, timeout=LONG)
        page.uncheck("#speak", force=True)
        page.fill("#question", "What color is the sky?")
        page.press("#question", "Enter")
        assert answered(page)
        page.screenshot(path=tmp_path / "page.png")
        context.close()
