"""A trace as one HTML page: steps with shapes and times, and pictures of the data that passes through them.

Shapes: T tokens or code frames, H heads, Q codebooks, M mel frames, F mel bins, N samples.
"""

from __future__ import annotations

import datetime
import platform
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from muomni_cli.audio.dsp import log_mel
from muomni_cli.contract.data import Media
from muomni_cli.contract.declarations import PartConfig
from muomni_cli.contract.engine import Engine
from muomni_cli.contract.speech import MelConfig
from muomni_cli.core.errors import __version__
from muomni_cli.core.files import write_text
from muomni_cli.core.html_page import audio, document, facts, wav
from muomni_cli.models.engines import modalities_of
from muomni_cli.trace.observer import has_modules
from muomni_cli.trace.pictures import bars, heat_map, patched, segments, waveform
from muomni_cli.trace.recorder import TraceStep
from muomni_cli.trace.report import answer_of, counted, explained, sections
from muomni_cli.trace.request import Trace, TraceRequest
from muomni_cli.trace.trace import QuestionTrace, SpeechTrace

SOUND_BYTES, SPEECH_BYTES = 128_000, 256_000  # maximum audio on the page: of all inputs together, and of the speech
ATTENTION_PIXELS = 350_000  # of all attention maps together; longer sequences are averaged down
MAX_MAPS, MAX_TOKENS = 24, 400  # layers or heads that are drawn, and tokens that are listed
MEL = ("sample_rate", "n_fft", "window", "hop", "n_mels", "f_min", "top", "mel_floor", "filters")

STYLE = """
figure { max-width: none; }
figcaption { color: var(--soft); font-size: .9rem; max-width: 46rem; }
figcaption h3 { color: var(--text); margin: 0; }
audio { display: block; width: 100%; max-width: 32rem; margin: .5rem 0; }
.heat { display: block; width: 100%; min-height: 3rem; max-height: 16rem; image-rendering: pixelated; }
.codes .heat { height: 6rem; }
.patches { display: block; width: 20rem; max-width: 100%; image-rendering: pixelated; }
.patches .grid { stroke: #fff; stroke-opacity: .7; stroke-width: 1; fill: none; vector-effect: non-scaling-stroke; }
.wave { display: block; width: 100%; height: 7rem; background: var(--raised); }
.wave path { stroke: var(--mark); stroke-width: 1; fill: none; }
.maps { display: grid; gap: 1rem; grid-template-columns: repeat(auto-fill, minmax(min(100%, 14rem), 1fr)); }
.maps figure { margin: 0; }
.maps .heat { aspect-ratio: 1; max-height: none; }
.segments { display: flex; font-size: .7rem; line-height: 1.4; color: var(--soft); }
.segments span { overflow: hidden; border-left: 1px solid var(--soft); padding-left: .2rem; min-width: 0; }
.tokens { display: flex; flex-wrap: wrap; gap: .25rem; padding: 0; list-style: none; font-size: .8rem; }
.tokens li { background: var(--raised); border-radius: .25rem; padding: 0 .4rem; overflow-wrap: anywhere; }
.tokens li.input { background: var(--mark); color: var(--ground); }
.bars { width: 100%; max-width: 40rem; }
.bars th { font-weight: normal; white-space: nowrap; }
.bars td:nth-child(2) { width: 100%; }
.bar { background: var(--mark); height: 1rem; min-width: 1px; }
.steps td { font-size: .85rem; }
.steps td:first-child { white-space: nowrap; }
.steps small { display: block; color: var(--soft); min-width: 14rem; }
.shape { white-space: nowrap; font-variant-numeric: tabular-nums; }
"""

ABOUT = {  # introduction of each section
    "image": "The encoder cuts it into patches, which become tokens for the Thinker.",
    "audio": "The encoder turns its log-mel spectrogram into tokens for the Thinker.",
    "text": "The tokenizer turns the text into ids, with special tokens for the start and the roles.",
    "sequence": "The tokens of all inputs and of the text are concatenated.",
    "thinker": "A transformer reads the sequence: each token attends to those before it, layer by layer.",
    "next token": "The logits after the last token become probabilities, and the largest one is chosen.",
    "generation": "Each chosen token is appended, and the Thinker predicts the next one.",
    "text again": "The chosen ids become text.",
    "spoken text": "The text to speak, in tokens or words.",
    "talker": "The Talker turns the text into codes: a few integers for each frame of audio.",
    "codes": "A row of codes for each frame, from coarse to fine.",
    "codec": "The codec's decoder turns codes into a log-mel spectrogram.",
    "vocoder": "The vocoder turns the log-mel spectrogram into samples.",
}


def write_page(path: Path, trace: Trace, engine: Engine, request: TraceRequest) -> None:
    """Write the page of a trace, atomically. MuomniError if it cannot be written."""
    steps = trace.steps
    about = {
        "model": engine.label,
        "question" if trace.question is not None else "text": request.text,
        "answer": answer_of(steps),
        "time": f"{len(steps)} steps, {sum(step.ms for step in steps if step.depth == 0):,.1f} ms",
        "date": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "muomni": __version__,
        "machine": f"{platform.system()} {platform.machine()}, Python {platform.python_version()}",
    }
    configs = {modality: sense.config for modality, sense in modalities_of(engine).items()}
    known = {name: value for name, value in about.items() if value}
    write_text(path, page(trace, configs, known, modules=has_modules(engine)))


def page(trace: Trace, modalities: Mapping[str, PartConfig], about: Mapping[str, str], *, modules: bool) -> str:
    """The page, as text to be written in UTF-8.

    Args:
        trace: the recorded steps.
        modalities: config of each encoder, by modality.
        about: model, question and other facts, by name.
        modules: PyTorch ran the model, so attention could be captured.
    """
    pictures: dict[str, list[str]] = {}
    if trace.question is not None:
        pictures |= _of_question(trace.question, modalities, modules=modules)
    if trace.speech is not None:
        pictures |= _of_speech(trace.speech)
    links, shown = [], []
    for number, (name, steps) in enumerate(sections(trace.steps), start=1):
        anchor = f"section-{number}"
        links.append(f'<li><a href="#{anchor}">{escape(name)}</a></li>')
        shown.append(f'<section aria-labelledby="{anchor}">\n<h2 id="{anchor}">{number}. {escape(name)}</h2>')
        if intro := ABOUT.get(name) or ABOUT.get(name.partition(":")[0]):
            shown.append(f"<p>{intro}</p>")
        shown += [*pictures.get(name, []), _table(name, steps), "</section>"]
    title = "A question through the model" if trace.question is not None else "From text to speech"
    navigation = f'<nav aria-label="Sections"><ul>{"".join(links)}</ul></nav>'
    return document(title, STYLE, [f"<h1>{title}</h1>", facts(about), navigation, *shown])


def _table(section: str, steps: Sequence[TraceStep]) -> str:
    head = "".join(f'<th scope="col">{name}</th>' for name in ("step", "in", "out, and description"))
    rows = [
        f'<tr><td style="padding-left:{0.7 + 1.2 * step.depth:.1f}rem">{escape(step.title)}</td>'
        f'<td class="shape">{escape(counted(step.inputs))}</td><td><span class="shape">{escape(counted(step.outputs))}'
        f'</span><small>{escape(explained(step))}</small></td><td class="figure">{step.ms:.3f}</td></tr>'
        for step in steps
    ]
    return (
        f'<div class="wide" role="region" tabindex="0" aria-label="{escape(f"Steps of {section}")}">\n'
        f'<table class="steps">\n<thead><tr>{head}<th scope="col" class="figure">ms</th></tr></thead>\n<tbody>\n'
        + "\n".join(rows)
        + "\n</tbody>\n</table>\n</div>"
    )


def _figure(kind: str, title: str, explanation: str, content: str) -> str:
    return (
        f'<figure class="{kind}">\n<figcaption><h3>{escape(title)}</h3>{escape(explanation)}</figcaption>\n{content}\n'
        "</figure>"
    )


def _of_question(
    question: QuestionTrace, modalities: Mapping[str, PartConfig], *, modules: bool
) -> dict[str, list[str]]:
    """Section -> its figures."""
    found: dict[str, list[str]] = {}
    sounds = max(1, sum(media.modality == "audio" for media, _ in question.inputs))
    for media, array in question.inputs:
        own = _input(media, array, modalities[media.modality], SOUND_BYTES // sounds)
        found.setdefault(f"{media.modality}: {media.name}", []).extend(own)
    found["sequence" if question.inputs else "text"] = [_tokens(question)]
    found["thinker"] = _attention(question, modules=modules)
    best: Sequence[Mapping[str, Any]] = next(
        (step.values["likeliest"] for step in question.steps if "likeliest" in step.values), []
    )
    shares = bars([(str(one["piece"]), float(one["probability"])) for one in best])
    explanation = "The most likely next tokens, each with its id."
    found["next token"] = [_figure("probabilities", "Probabilities of the next token", explanation, shares)]
    return found


def _input(media: Media, array: NDArray[Any], config: PartConfig, most: int) -> list[str]:
    """Figures of one input as its encoder receives it: (N,) audio of at most ``most`` bytes, a (3,H,W) image with its
    patches, or the (T,F) numbers of another modality as colors."""
    if not array.size or not np.isfinite(array).all():
        return []
    if array.ndim == 1:
        return _sound(media.name, array, config, most)
    if array.ndim == 2:
        rows, columns = array.shape
        explanation = f"{rows} x {columns} numbers, as the encoder receives them. Time runs to the right."
        return [_figure("input", "The input", explanation, heat_map(array.T, media.name))]
    if array.ndim != 3 or array.shape[0] not in (1, 3):
        return []
    _, height, width = array.shape
    patch = getattr(config, "patch", None)
    explanation = f"{width} x {height} pixels, as the encoder receives them."
    if isinstance(patch, int):
        count = (height // patch) * (width // patch)
        explanation += f" The lines are the borders of its {count:,} patches of {patch} x {patch}."
    else:
        patch = None
    return [_figure("image", "The image", explanation, patched(array, patch, f"{media.name}, {explanation}"))]


def _sound(name: str, array: NDArray[Any], config: PartConfig, most: int) -> list[str]:
    """(N,) samples: waveform, player, and log-mel spectrogram with the encoder's own settings."""
    rate = getattr(config, "sample_rate", None)
    if not isinstance(rate, int):
        return [_figure("sound", "The input", f"{len(array):,} numbers.", waveform(array, name))]
    found = [_played("The sound", name, array, rate, most)]
    settings: Any = config
    whose = "the encoder's settings"
    if not all(hasattr(config, setting) for setting in MEL):
        settings = MelConfig(sample_rate=rate)
        whose = "default settings, because the encoder declares none"
    mel = log_mel(array, settings)
    return [*found, _mel("The log-mel spectrogram of the sound", mel, f"With {whose}.")] if mel.size else found


def _played(title: str, name: str, samples: NDArray[Any], rate: int, most: int) -> str:
    """(N,) samples as a waveform with a player of at most ``most`` bytes."""
    seconds = f"{len(samples) / rate:g} s at {rate:,} Hz"
    content = waveform(samples, f"Waveform of {name}, {seconds}") + player(name, samples, rate, most)
    return _figure("sound", title, f"{seconds}; the samples over time.", content)


def player(name: str, samples: NDArray[Any], rate: int, most: int) -> str:
    """A player of (N,) samples as 16-bit WAV, truncated to ``most`` bytes of samples."""
    kept = samples[: most // 2]
    note = f"<p>The page contains the first {most / 2 / rate:.1f} s.</p>" if len(kept) < len(samples) else ""
    return audio(f"Sound of {name}", wav(kept, rate)) + note


def _mel(title: str, mel: NDArray[Any], more: str = "") -> str:
    """(M,F) log-mel, low frequencies at the bottom."""
    size = f"{mel.shape[0]} mel frames of {mel.shape[1]} bins"
    explanation = f"{size}. Time runs to the right, frequency up; brighter is louder. {more}".strip()
    return _figure("mel", title, explanation, heat_map(mel.T[::-1], f"{title}: {size}"))


def _tokens(question: QuestionTrace) -> str:
    names = {name for name, _ in question.layout} - {"text"}
    items = [
        f'<li class="{"input" if token in names else "text"}">{escape(token)}</li>'
        for token in question.tokens[:MAX_TOKENS]
    ]
    left = len(question.tokens) - MAX_TOKENS
    items += [f"<li>... {left:,} more</li>"] if left > 0 else []
    parts = " + ".join(f"{count} ({name})" for name, count in question.layout)
    explanation = f"{parts} = {len(question.tokens)} tokens, in the order of the Thinker's input."
    return _figure("sequence", "The sequence", explanation, f'<ol class="tokens">{"".join(items)}</ol>')


def _attention(question: QuestionTrace, *, modules: bool) -> list[str]:
    """Attention maps of each layer and of the last layer's heads, and what the last token attends to."""
    if not question.attention:
        why = (
            "This Thinker does not compute its attention with PyTorch's softmax attention, so no weights can be shown."
            if modules
            else "The graphs of a bundle do not output attention weights. They are available where PyTorch runs "
            "the model: name its run, or leave --engine out."
        )
        return [f'<p class="attention">{why}</p>']
    count = len(question.attention)
    layers, heads = question.attention[:MAX_MAPS], question.attention[-1][:MAX_MAPS]
    side = int((ATTENTION_PIXELS / (len(layers) + len(heads))) ** 0.5)

    def maps(named: Iterable[tuple[str, NDArray[Any]]]) -> str:
        figures = [
            f"<figure>{heat_map(np.sqrt(weights), f'Attention of {name}', limits=(0, 1), most=(side, side))}"
            f"{segments(question.layout)}<figcaption>{name}</figcaption></figure>"
            for name, weights in named
        ]
        return f'<div class="maps">{"".join(figures)}</div>'

    means = maps((f"layer {number} of {count}", layer.mean(0)) for number, layer in enumerate(layers, start=1))
    own = maps((f"layer {count}, head {number}", head) for number, head in enumerate(heads, start=1))
    explanation = (
        "The mean of its heads. Each row is a token, from first (top) to last, and each column a token it attends to; "
        "brighter is more (colors show the square root of the weight). Tokens do not attend to later ones, so the "
        "upper right is dark."
    )
    weights, shares, end = heads.mean(0)[-1], [], 0
    for name, length in question.layout:
        shares.append((f"{name} ({length})", float(weights[end : end + length].sum())))
        end += length
    last = "It predicts the first token of the answer. Shares of its attention in the last layer (mean of the heads)."
    return [
        _figure("attention", "Attention of each layer", explanation, means),
        _figure("attention", "Heads of the last layer", "Heads attend to different tokens.", own),
        _figure("attention", "What the last token attends to", last, bars(shares)),
    ]


def _of_speech(speech: SpeechTrace) -> dict[str, list[str]]:
    """Section -> its figures."""
    frames, books = speech.codes.shape
    codes = f"{frames} frames x {books} codebooks. Time runs to the right; each row is a codebook, each color a code."
    # Codes cannot be averaged, so every n-th frame of a long text is drawn.
    drawn = speech.codes[:: -(-frames // 600)]
    return {
        "codes": [_figure("codes", "The codes", codes, heat_map(drawn.T, f"Codes: {codes}"))],
        **({"codec": [_mel("The log-mel spectrogram that the codec decodes", speech.mel)]} if speech.mel.size else {}),
        ("vocoder" if speech.mel.size else "codec"): [
            _played("The speech", "the speech", speech.wave, speech.sample_rate, SPEECH_BYTES)
        ],
    }
