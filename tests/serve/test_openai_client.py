"""What the server promises is what OpenAI's own client reads of it."""

from __future__ import annotations

import base64
import io
import json
from typing import Any

import numpy as np
import pytest
import soundfile
from openai import BadRequestError, NotFoundError, OpenAI

from muomni_cli import Model
from muomni_cli.audio.encoding import FORMATS, as_integers
from muomni_cli.contract.speech import SpeechReport

WORDS = "Hello there. How are you?"
RATES = {"wav": 16_000, "flac": 16_000, "mp3": 16_000, "opus": 16_000, "pcm": 24_000}


def ask(text: str, *parts: dict[str, Any]) -> list[Any]:
    return [{"role": "user", "content": [*parts, {"type": "text", "text": text}]}]


def image(content: bytes) -> dict[str, Any]:
    url = f"data:image/png;base64,{base64.b64encode(content).decode()}"
    return {"type": "image_url", "image_url": {"url": url}}


def audio(content: bytes) -> dict[str, Any]:
    data = {"data": base64.b64encode(content).decode(), "format": "wav"}
    return {"type": "input_audio", "input_audio": data}


def test_models_are_listed_and_described(client: OpenAI) -> None:
    (one,) = client.models.list().data
    assert one.id == "nano"
    assert client.models.retrieve("nano") == one
    described = one.model_dump()
    assert {"chat", "speak", "transcribe", "image", "audio"} <= set(described["capabilities"])
    assert described["sample_rate"] == 16_000
    with pytest.raises(NotFoundError, match="there is no model 'other'"):
        client.models.retrieve("other")


def test_a_chat_is_answered_as_without_a_server(client: OpenAI, nano: Model) -> None:
    settings = {"temperature": 1.0, "top_p": 0.9, "seed": 5, "max_tokens": 12}
    made = client.chat.completions.create(model="nano", messages=ask("Tell me a story"), **settings)  # type: ignore[call-overload]
    (choice,) = made.choices
    assert choice.message.content == nano.chat("Tell me a story", **settings)  # type: ignore[arg-type]
    assert choice.finish_reason in ("stop", "length")
    assert made.usage.total_tokens == made.usage.prompt_tokens + made.usage.completion_tokens
    assert 0 < made.usage.completion_tokens <= 12


@pytest.mark.parametrize("seed", [0, 3])
def test_a_streamed_answer_is_the_whole_one(client: OpenAI, seed: int) -> None:
    asked: dict[str, Any] = {
        "model": "nano", "messages": ask("Tell me a story"), "seed": seed, "temperature": 1,
        "max_completion_tokens": 20,
    }  # fmt: skip
    whole = client.chat.completions.create(**asked)
    chunks = list(client.chat.completions.create(**asked, stream=True, stream_options={"include_usage": True}))
    assert len({chunk.id for chunk in chunks}) == 1
    deltas = [choice for chunk in chunks for choice in chunk.choices]
    assert deltas[0].delta.role == "assistant"
    assert "".join(one.delta.content or "" for one in deltas) == whole.choices[0].message.content
    assert [one.finish_reason for one in deltas if one.finish_reason] == [whole.choices[0].finish_reason]
    assert [chunk.usage for chunk in chunks if chunk.usage] == [whole.usage]
    assert chunks[-1].choices == []


def test_the_client_gathers_a_stream_itself(client: OpenAI) -> None:
    with client.chat.completions.stream(model="nano", messages=ask("hello")) as stream:
        made = stream.get_final_completion()
    assert made.choices[0].message.content


def test_several_choices_have_seeds_of_their_own(client: OpenAI) -> None:
    asked: dict[str, Any] = {"model": "nano", "messages": ask("Tell me"), "temperature": 1.5, "max_tokens": 8}
    made = client.chat.completions.create(**asked, seed=7, n=3)
    alone = [client.chat.completions.create(**asked, seed=7 + number).choices[0] for number in range(3)]
    assert [one.index for one in made.choices] == [0, 1, 2]
    assert [one.message.content for one in made.choices] == [one.message.content for one in alone]
    streamed = ["", "", ""]
    for chunk in client.chat.completions.create(**asked, seed=7, n=3, stream=True):
        streamed[chunk.choices[0].index] += chunk.choices[0].delta.content or ""
    assert streamed == [one.message.content for one in alone]


def test_an_answer_ends_before_a_stop_string(client: OpenAI) -> None:
    asked: dict[str, Any] = {"model": "nano", "messages": ask("Tell me a story"), "seed": 1, "max_tokens": 30}
    whole = client.chat.completions.create(**asked).choices[0].message.content or ""
    word = whole.split()[2]
    made = client.chat.completions.create(**asked, stop=[word]).choices[0]
    assert made.message.content == whole[: whole.index(word)]
    assert made.finish_reason == "stop"
    assert client.chat.completions.create(**asked | {"max_tokens": 1}).choices[0].finish_reason == "length"


def test_pictures_and_sounds_are_seen_and_heard(client: OpenAI, nano: Model, picture: bytes, sound: bytes) -> None:
    asked = ask("What do you see and hear?", image(picture), audio(sound))
    made = client.chat.completions.create(model="nano", messages=asked).choices[0].message.content
    assert made == nano.chat("What do you see and hear?", image=picture, audio=sound)
    assert made != client.chat.completions.create(model="nano", messages=ask("What do you see and hear?")).choices[0]


def test_earlier_turns_count(client: OpenAI, nano: Model, picture: bytes) -> None:
    session = nano.session(system="Be brief.")
    first = session.ask("What do you see?", image=picture)
    second = session.ask("And now?")
    asked: list[Any] = [
        {"role": "system", "content": "Be brief."},
        *ask("What do you see?", image(picture)),
        {"role": "assistant", "content": first},
        {"role": "user", "content": "And now?"},
    ]
    made = client.chat.completions.create(model="nano", messages=asked)
    assert made.choices[0].message.content == second


@pytest.mark.parametrize("form", ["wav", "flac", "mp3", "opus", "pcm16"])
def test_an_answer_is_spoken(client: OpenAI, nano: Model, form: str) -> None:
    asked: dict[str, Any] = {
        "model": "nano", "messages": ask("hello"), "modalities": ["text", "audio"], "seed": 0,
        "audio": {"voice": "slt", "format": form},
    }  # fmt: skip
    spoken = client.chat.completions.create(**asked).choices[0].message.audio
    assert spoken is not None
    text = client.chat.completions.create(model="nano", messages=ask("hello"), seed=0).choices[0].message.content
    assert spoken.transcript == text
    whole = base64.b64decode(spoken.data)
    samples = decoded(whole, "pcm" if form == "pcm16" else form)
    pieces, said = [], ""
    for chunk in client.chat.completions.create(**asked, stream=True):
        delta = chunk.choices[0].delta.audio
        if delta is not None:
            said += delta.transcript or ""
            pieces += [base64.b64decode(delta.data)] if delta.data else []
    assert said == text
    streamed = decoded(b"".join(pieces), "pcm" if form == "pcm16" else form)
    if form in ("wav", "flac", "pcm16"):
        assert np.array_equal(streamed, samples)
    else:
        assert abs(len(streamed) - len(samples)) < 0.2 * RATES[form]
    assert form == "flac" or len(pieces) > 1
    assert nano.sample_rate == 16_000


def decoded(content: bytes, form: str) -> Any:
    """Samples of a file, 16 bits."""
    if form == "pcm":
        return np.frombuffer(content, "<i2")
    samples, rate = soundfile.read(io.BytesIO(content), dtype="int16")
    assert rate == RATES[form]
    return samples


@pytest.mark.parametrize("form", FORMATS)
def test_speech_in_each_format(client: OpenAI, nano: Model, form: Any) -> None:
    samples, rate = nano.speak(WORDS)
    with client.audio.speech.with_streaming_response.create(
        model="nano", voice="slt", input=WORDS, response_format=form
    ) as answer:
        content = b"".join(answer.iter_bytes())
        assert answer.headers["content-type"].startswith(FORMATS[form].media_type)
        assert answer.headers["x-sample-rate"] == str(RATES[form])
    made = decoded(content, form)
    assert abs(len(made) / RATES[form] - len(samples) / rate) < 0.2
    if form in ("wav", "flac"):
        assert np.array_equal(made, as_integers(samples))
    if form == "wav":
        assert content.count(b"RIFF") == 1
    again = client.audio.speech.create(model="nano", voice="slt", input=WORDS, response_format=form).content
    assert np.array_equal(decoded(again, form), made)


def test_speech_as_events_is_the_same_speech(client: OpenAI, nano: Model) -> None:
    asked: dict[str, Any] = {"model": "nano", "voice": "slt", "input": WORDS, "response_format": "pcm", "speed": 1.5}
    whole = client.audio.speech.create(**asked).content
    pieces, ends, words = [], [], []
    with client.audio.speech.with_streaming_response.create(**asked, stream_format="sse") as answer:
        for line in answer.iter_lines():
            if line.startswith("data: "):
                event = json.loads(line.removeprefix("data: "))
                words += event["words"]
                if event["type"] == "speech.audio.delta":
                    pieces.append(base64.b64decode(event["audio"]))
                else:
                    ends.append(event)
    assert b"".join(pieces) == whole
    (end,) = ends
    assert end["type"] == "speech.audio.done"
    assert end["usage"]["total_tokens"] == end["usage"]["input_tokens"] + end["usage"]["output_tokens"]
    assert end["warnings"] == []
    report = SpeechReport()
    nano.speak(WORDS, speed=1.5, report=report)
    told = [(word["word"], word["start"], word["end"]) for word in words]
    assert told == [(word.text, round(word.start, 3), round(word.end, 3)) for word in report.words]
    assert len(told) == len(WORDS.split())


def test_a_streamed_answer_tells_its_tokens_and_spoken_words(client: OpenAI, nano: Model) -> None:
    asked: dict[str, Any] = {"model": "nano", "messages": ask("Tell me a story"), "max_tokens": 20, "stream": True}
    chunks = list(client.chat.completions.create(**asked, extra_body={"trace": True}))
    told = [token for chunk in chunks for choice in chunk.choices for token in choice.to_dict().get("trace", [])]
    text = nano.chat("Tell me a story", max_tokens=20)
    assert "".join(token["text"] for token in told) == text
    assert [token["ms"] for token in told] == sorted(token["ms"] for token in told)
    assert nano.engine.tokenizer().encode(text) == [token["id"] for token in told if token["text"]]
    spoken = {**asked, "modalities": ["text", "audio"], "audio": {"format": "pcm16"}}
    chunks = list(client.chat.completions.create(**spoken))
    words = [word for chunk in chunks for choice in chunk.choices for word in choice.to_dict().get("words", [])]
    assert [word["word"].strip(".,") for word in words] == [word.strip(".,") for word in text.split()]
    with pytest.raises(BadRequestError, match="trace needs stream"):
        client.chat.completions.create(**{**asked, "stream": False}, extra_body={"trace": True})


def test_a_traced_answer_tells_what_in_the_image_it_depends_on(client: OpenAI, picture: bytes) -> None:
    asked: dict[str, Any] = {
        "model": "nano",
        "messages": ask("What do you see?", image(picture)),
        "max_tokens": 20,
        "stream": True,
    }
    maps = []
    for trace in (True, False):
        chunks = list(client.chat.completions.create(**asked, extra_body={"trace": trace}))
        found = [choice.to_dict() for chunk in chunks for choice in chunk.choices]
        maps.append([choice["occlusion"] for choice in found if "occlusion" in choice])
    assert maps[1] == []
    [rows] = maps[0]
    assert [len(row) for row in rows] == [6] * 6
    assert max(map(max, rows)) > 0.1


def test_transcripts_in_each_format(client: OpenAI, nano: Model, sound: bytes) -> None:
    words = list(nano.words(sound))
    text = " ".join(word.text for word in words)
    file = ("y.wav", sound)
    create = client.audio.transcriptions.create
    assert create(model="nano", file=file).text == text
    assert create(model="nano", file=file, response_format="text") == f"{text}\n"
    assert " --> " in create(model="nano", file=file, response_format="srt")
    web = create(model="nano", file=file, response_format="vtt")
    assert web.startswith("WEBVTT\n\n")
    assert text in web
    full = create(
        model="nano",
        file=file,
        response_format="verbose_json",
        timestamp_granularities=["word", "segment"],
        language="en",
    )
    assert full.words is not None
    assert [(word.word, word.start, word.end) for word in full.words] == [(w.text, w.start, w.end) for w in words]
    assert full.segments is not None
    assert " ".join(segment.text for segment in full.segments) == text
    assert full.duration == pytest.approx(soundfile.info(io.BytesIO(sound)).duration, abs=0.01)
    events = list(create(model="nano", file=file, stream=True))
    assert "".join(event.delta for event in events if event.type == "transcript.text.delta") == text
    assert [event.text for event in events if event.type == "transcript.text.done"] == [text]


@pytest.mark.parametrize(
    ("asked", "param"),
    [
        ({"frequency_penalty": 0.5}, "frequency_penalty"),
        ({"logprobs": True}, "logprobs"),
        ({"top_logprobs": 3}, "top_logprobs"),
        ({"logit_bias": {"5": 1}}, "logit_bias"),
        ({"store": True}, "store"),
        ({"reasoning_effort": "low"}, "reasoning_effort"),
        ({"functions": []}, "functions"),
        ({"prediction": {"type": "content", "content": "x"}}, "prediction"),
        ({"stop": ["a", "b", "c", "d", "e"]}, "stop"),
        ({"n": 9}, "n"),
        ({"temperature": 3}, "temperature"),
        ({"modalities": ["audio"]}, "modalities"),
        ({"modalities": ["text", "audio"]}, "audio"),
        ({"audio": {"voice": "slt", "format": "wav"}}, "audio"),
        ({"modalities": ["text", "audio"], "audio": {"voice": "zoe", "format": "wav"}}, "audio.voice"),
        ({"modalities": ["text", "audio"], "audio": {"voice": "slt", "format": "aac"}}, "audio.format"),
        ({"modalities": ["text", "audio"], "audio": {"voice": "slt", "format": "wav"}, "n": 2}, "n"),
        ({"max_tokens": 3, "max_completion_tokens": 4}, "max_tokens"),
        ({"messages": []}, "messages"),
        ({"messages": [{"role": "user", "content": " "}]}, "messages[0].content"),
        ({"messages": [{"role": "tool", "content": "x", "tool_call_id": "y"}]}, "messages[0].tool_call_id"),
        ({"messages": [{"role": "user", "content": "x", "name": "ann"}]}, "messages[0].name"),
        ({"messages": [{"role": "user", "content": "x"}, {"role": "system", "content": "y"}]}, "messages[1].role"),
        ({"messages": [{"role": "assistant", "content": "x"}]}, "messages[0].role"),
        ({"messages": ask("x", {"type": "file", "file": {}})}, "messages[0].content[0]"),
        (
            {"messages": ask("x", {"type": "image_url", "image_url": {"url": "https://a.org/b.png"}})},
            "messages[0].content[0].image_url.url",
        ),
        ({"messages": ask("x", image(b"no picture"))}, "messages[0].content[0].image_url.url"),
        ({"messages": ask("x", audio(b"no sound"))}, "messages[0].content[0].input_audio.data"),
        ({"user": 5}, "user"),
        ({"messages": [{"role": "user", "content": [{"type": "text", "text": 5}]}]}, "messages[0].content[0].text"),
    ],
)
def test_what_is_not_supported_is_named(client: OpenAI, asked: dict[str, Any], param: str) -> None:
    for stream in (False, True):
        whole = {"model": "nano", "messages": ask("hello"), "stream": stream}
        with pytest.raises(BadRequestError) as caught:
            client.chat.completions.create(**{**whole, "extra_body": asked})  # type: ignore[call-overload]
        assert caught.value.param == param
        assert caught.value.type == "invalid_request_error"
        assert caught.value.code
        assert "\n" not in caught.value.message


def test_options_of_a_stream_need_one(client: OpenAI) -> None:
    with pytest.raises(BadRequestError) as caught:
        client.chat.completions.create(model="nano", messages=ask("x"), stream_options={"include_usage": True})  # type: ignore[call-overload]
    assert caught.value.param == "stream_options"


@pytest.mark.parametrize(
    ("asked", "param"),
    [
        ({"voice": "alloy"}, "voice"),
        ({"response_format": "aac"}, "response_format"),
        ({"speed": 4}, "speed"),
        ({"instructions": "sing"}, "instructions"),
        ({"input": "日本"}, "input"),
        ({"input": ""}, "input"),
        ({"input": "a " * 2049}, "input"),
    ],
)
def test_speech_that_cannot_be_is_refused(client: OpenAI, asked: dict[str, Any], param: str) -> None:
    for form in ("audio", "sse"):
        whole: dict[str, Any] = {"model": "nano", "voice": "slt", "input": WORDS, "stream_format": form, **asked}
        with pytest.raises(BadRequestError) as caught:
            client.audio.speech.create(**whole)
        assert caught.value.param == param


@pytest.mark.parametrize(
    ("asked", "param"),
    [
        ({"file": ("a.wav", b"noise")}, "file"),
        ({"file": ("a.wav", b"")}, "file"),
        ({"language": "de"}, "language"),
        ({"prompt": "names"}, "prompt"),
        ({"temperature": 1}, "temperature"),
        ({"response_format": "diarized_json"}, "response_format"),
        ({"include": ["logprobs"]}, "include[]"),
        ({"timestamp_granularities": ["word"]}, "timestamp_granularities[]"),
        ({"stream": True, "response_format": "srt"}, "stream"),
    ],
)
def test_a_transcript_that_cannot_be_is_refused(
    client: OpenAI, sound: bytes, asked: dict[str, Any], param: str
) -> None:
    with pytest.raises(BadRequestError) as caught:
        client.audio.transcriptions.create(**{"model": "nano", "file": ("y.wav", sound), **asked})  # type: ignore[call-overload]
    assert caught.value.param == param
