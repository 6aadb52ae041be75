"""Forms in recipes, on the command line, in sessions and in bundles."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

pytest.importorskip("onnxruntime", reason="needs onnxruntime")

from muomni_cli import Model, RequestError, app, load
from muomni_cli.contract.form import Form
from muomni_cli.recipe.load import load_recipe
from muomni_cli.recipe.problems import RecipeMistakesError
from muomni_cli.recipe.write import fingerprint, resolved_toml
from muomni_cli.runs.run import RunFolder
from muomni_cli.trace.report import answer_of
from muomni_cli.trace.trace import trace_question

if TYPE_CHECKING:
    from tests.whole import Whole

SCHEMA = {
    "type": "object",
    "properties": {"color": {"enum": ["red", "blue"]}, "sides": {"type": "integer", "minimum": 3, "maximum": 9}},
    "required": ["color", "sides"],
    "additionalProperties": False,
}
FORMS: list[dict[str, Any]] = [
    {"choices": ["yes", "no, but", "größer"]}, {"json_schema": SCHEMA}, {"regex": "[a-f]{2,5}!"},
    {"grammar": 'start: "a" tail\ntail: /[bc]{1,4}/ "."'},
]  # fmt: skip
RECIPE = """\
name = "mine"
[tokenizer]
use = "bytes"
[thinker]
use = "transformer"
[chat]
temperature = 0.5
"""


@pytest.fixture(scope="module", params=["bundle", "run"])
def model(request: pytest.FixtureRequest, whole: Whole) -> Iterator[Model]:
    with load(getattr(whole, request.param), threads=1) as opened:
        yield opened


def type_chat(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as left:
        app.main(["chat", *map(str, words), "--threads", "1"])
    said = capsys.readouterr()
    return int(left.value.code or 0), said.out, said.err


@pytest.mark.parametrize("form", FORMS, ids=lambda form: next(iter(form)))
def test_torch_and_onnxruntime_give_the_same_answer_as_a_stream_too(
    whole: Whole, form: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    texts = set()
    for folder in (whole.run, whole.bundle):
        with load(folder, threads=1) as model:
            for seed in (0, 1):
                pieces = list(model.chat_stream("hello", form=form, seed=seed, max_tokens=60))
                assert "".join(pieces) == model.chat("hello", form=Form.of(form), seed=seed, max_tokens=60)
            texts.add("".join(pieces))
        ((kind, content),) = form.items()
        shown = [content] if isinstance(content, str) else [json.dumps(content)]
        words = [
            word for one in (content if kind == "choices" else shown) for word in (f"--{kind}".replace("_", "-"), one)
        ]
        code, out, _ = type_chat(capsys, "hello", "--seed", 1, "--max-tokens", 60, *words, "-m", folder)
        assert code == 0
        texts.add(out[:-1])
    assert len(texts) == 1


def test_choices_are_a_list_or_repeated(whole: Whole, capsys: pytest.CaptureFixture[str]) -> None:
    _, out, _ = type_chat(capsys, "hello", "--choices", "left, right", "-m", whole.bundle)
    assert out in ("left\n", "right\n")
    _, out, _ = type_chat(capsys, "hello", "--choices", "left, right", "--choices", "up, down", "-m", whole.bundle)
    assert out in ("left, right\n", "up, down\n")


def test_a_wrong_form_is_two_lines_and_exit_code_2(whole: Whole, capsys: pytest.CaptureFixture[str]) -> None:
    for words, problem in (
        (("--regex", "(?=a)"), "look-ahead"), (("--json-schema", '{"not": {}}'), "/not: the keyword 'not'"),
        (("--json-schema", "nowhere.json"), "No such file"), (("--grammar", "nowhere.lark"), "No such file"),
        (("--choices", "a,,b"), "one of the choices is empty"), (("--choices", ""), "empty"),
        (("--regex", "a", "--choices", "a,b"), "--choices and --regex cannot be combined"),
        (("--regex", "a{50}", "--max-tokens", "9"), "at least about 50 tokens"),
    ):  # fmt: skip
        code, out, err = type_chat(capsys, "hello", *words, "-m", whole.bundle)
        assert (code, out) == (2, "")
        lines = [line for line in err.splitlines() if not line.startswith("model: ")]
        assert len(lines) == 2, err
        assert problem in lines[0]


def test_json_output_names_the_form(whole: Whole, capsys: pytest.CaptureFixture[str]) -> None:
    _, out, _ = type_chat(capsys, "hello", "--json", "--choices", "a,b", "-m", whole.bundle)
    report = json.loads(out)
    assert report["text"] in ("a", "b")
    assert (report["finish"], report["settings"]["form"]) == ("eos", {"choices": ["a", "b"]})


def test_a_model_compiles_a_form_once(model: Model) -> None:
    assert model.engine.tokenizer() is model.engine.tokenizer()


def test_every_answer_of_a_conversation_has_the_form(model: Model) -> None:
    session = model.session(form={"choices": ["yes", "no"]}, temperature=1.0)
    said = [session.ask(f"question {number}") for number in range(4)]
    assert set(said) <= {"yes", "no"}
    assert [answer for _, answer in session.turns] == said


def test_errors_of_forms_come_at_once(model: Model) -> None:
    for form, problem in (({"regex": "["}, "regular expression"), ({"regex": "a{90}"}, "at least about 90"),
                          ({"nothing": "a"}, "a form has one key")):  # fmt: skip
        with pytest.raises(RequestError, match=problem):
            model.chat_stream("hello", form=form, max_tokens=40)


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], str]:
    monkeypatch.chdir(tmp_path)

    def write(form: str) -> str:
        Path("mine.toml").write_text(f"{RECIPE}form = {form}\n", encoding="utf-8")
        return "mine.toml"

    return write


@pytest.mark.parametrize(
    ("form", "problem"),
    [
        ('{ json_schema = "{\\"properties\\": {\\"a\\": {\\"not\\": {}}}}" }', "/properties/a/not: the keyword 'not'"),
        ('{ json_schema = { type = "array", uniqueItems = true } }', "/uniqueItems: the keyword"),
        ('{ json_schema = "missing.json" }', "missing.json"), ('{ regex = "(" }', "regular expression"),
        ('{ grammar = "start: missing" }', "grammar"), ("{ choices = [] }", "there is no choice"),
        ('{ choices = ["a"], regex = "a" }', "a form has one key"), ('{ option = ["a"] }', "a form has one key"),
        ('"yes"', "should be an object"), ("{ choices = [1, 2] }", "not a list of texts"),
        ('{ json_schema = "$NOWHERE/a.json" }', "NOWHERE"),
    ],
)  # fmt: skip
def test_a_wrong_form_is_a_mistake_of_its_line(write: Callable[[str], str], form: str, problem: str) -> None:
    with pytest.raises(RecipeMistakesError) as raised:
        load_recipe(write(form))
    (mistake,) = raised.value.mistakes
    assert (mistake.key, mistake.line) == ("chat.form", 8)
    assert problem in mistake.message


def test_a_recipe_holds_the_content_of_the_file(write: Callable[[str], str], monkeypatch: pytest.MonkeyPatch) -> None:
    Path("schema.json").write_text(json.dumps(SCHEMA), encoding="utf-8")
    monkeypatch.setenv("HERE", ".")
    recipe = load_recipe(write('{ json_schema = "$HERE/schema.json" }'))
    assert recipe.chat.form == {"json_schema": json.dumps(SCHEMA)}
    Path("schema.json").unlink()
    Path("again.toml").write_text(resolved_toml(recipe), encoding="utf-8")
    assert fingerprint(load_recipe("again.toml")) == fingerprint(recipe)
    nested = load_recipe(write('{ json_schema = { type = "object", properties = { b = { const = 1 }, a = true } } }'))
    assert list(json.loads(str(nested.chat.form["json_schema"]))["properties"]) == ["b", "a"]
    assert load_recipe(write('{ choices = ["a", "b"] }')).chat.form == {"choices": ["a", "b"]}
    assert load_recipe(write("{}"), ['chat.form={regex="a+"}']).chat.form == {"regex": "a+"}


@pytest.mark.parametrize("form", FORMS, ids=lambda form: next(iter(form)))
def test_a_trained_model_has_the_form_of_its_recipe_and_so_has_its_bundle(
    whole: Whole, tmp_path: Path, form: dict[str, Any]
) -> None:
    from muomni_onnx.bundle import open_bundle, write_manifest

    made = Form.of(form)
    assert made is not None
    shutil.copytree(whole.run, tmp_path / "run")
    run = RunFolder(tmp_path / "run")
    run.record("omni", {"status": "finished"}, chat={**run.model()["chat"], "form": made.plain(), "max_tokens": 60})
    shutil.copytree(whole.bundle, tmp_path / "bundle")
    manifest = dict(open_bundle(tmp_path / "bundle").manifest)
    manifest["chat"] = {**manifest["chat"], "form": made.plain(), "max_tokens": 60}
    write_manifest(tmp_path / "bundle", manifest)
    with load(whole.bundle, threads=1) as plain:
        wanted = plain.chat("hello", form=form, max_tokens=60)
        free = plain.chat("hello", max_tokens=60)
    for folder in ("run", "bundle"):
        with load(tmp_path / folder, threads=1) as model:
            assert model.chat("hello") == wanted
            assert model.chat("hello", form={}) == free
            traced = trace_question(model.engine, "hello", [], 60, lambda _: None)
            assert answer_of(traced.steps) == wanted


def test_the_form_of_a_manifest_names_no_file(whole: Whole, tmp_path: Path) -> None:
    from muomni_onnx.bundle import open_bundle, write_manifest

    shutil.copytree(whole.bundle, tmp_path / "bundle")
    (tmp_path / "schema.json").write_text('{"type": "null"}')
    manifest = dict(open_bundle(tmp_path / "bundle").manifest)
    manifest["chat"] = {**manifest["chat"], "form": {"json_schema": str(tmp_path / "schema.json")}}
    write_manifest(tmp_path / "bundle", manifest)
    with (
        load(tmp_path / "bundle", threads=1) as model,
        pytest.raises(RequestError, match=r"chat settings of .* damaged"),
    ):
        model.chat("hello")
