"""A bundle of muomni with onnxruntime, numpy and tokenizers alone: a start for a runtime of your own.

    python muomni_min.py chat BUNDLE "what is this?" picture.png
    python muomni_min.py tts BUNDLE "hello there" speech.wav
    python muomni_min.py listen BUNDLE recording.wav

It follows docs/bundle.md, and leaves out: sampling, the loop guard, conversations, reading numbers and abbreviations
aloud, single letters, the levels and pauses of recordings, resampling, and pictures other than PNG files of 8 bits.
"""

from __future__ import annotations

import json
import math
import re
import struct
import sys
import wave
import zlib
from pathlib import Path

import numpy as np
import onnxruntime
import tokenizers

ALPHABET = "abcdefghijklmnopqrstuvwxyz' .,?!;:-"


class Graph:
    """A graph of a bundle, and its states from one call to the next."""

    def __init__(self, root: Path, entry: dict) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.log_severity_level = 1, 3
        options.add_session_config_entry("session.x64quantprecision", "1")  # for int8 on older CPUs
        self.session = onnxruntime.InferenceSession(
            str(root / entry["file"]), options, ["CPUExecutionProvider"], disabled_optimizers=["QDQS8ToU8Transformer"]
        )
        self.entry, self.states = entry, {}
        self.reset()

    def reset(self) -> None:
        sizes = {"batch": 1, "past": 0, "known": 0}
        for name in self.entry["states"]:
            axes = [axis if isinstance(axis, int) else sizes.get(axis, 1) for axis in self.entry["inputs"][name]]
            self.states[name] = np.zeros(axes, self.entry["types"][name])

    def __call__(self, **feeds: np.ndarray) -> dict[str, np.ndarray]:
        names = self.entry["outputs"]
        made = dict(zip(names, self.session.run(names, {**feeds, **self.states}), strict=True))
        self.states = {name: made[now] for name, now in self.entry["states"].items()}
        return made


class Bundle:
    def __init__(self, root: Path) -> None:
        self.root = root
        self.manifest = json.loads((root / "muomni.json").read_text(encoding="utf-8"))
        if self.manifest["format"] != 1:
            sys.exit(f"this bundle has format {self.manifest['format']}, and 1 is read here")

    def part(self, name: str) -> tuple[dict, dict[str, Graph]]:
        """The manifest's entry of a part, and its graphs."""
        entry = self.manifest["parts"].get(name) or sys.exit(f"this model has no {name}")
        return entry, {key: Graph(self.root, graph) for key, graph in entry["graphs"].items()}


# Chat


def chat(bundle: Bundle, text: str, picture: np.ndarray | None = None) -> str:
    """The greedy answer to one question, about a picture (3,H,W) or none."""
    config, thinker = bundle.part("thinker")
    tokenizer = tokenizers.Tokenizer.from_file(str(bundle.root / "tokenizer" / "tokenizer.json"))
    tokenizer.encode_special_tokens = True  # text that spells a special token is ordinary text
    special, settings = bundle.manifest["special_tokens"], bundle.manifest["chat"]
    encoded = tokenizer.encode(text, add_special_tokens=False).ids
    roles = settings.get("template", "plain") == "roles"
    before = [special["bos"], special["user"]] if roles else []
    after = [*encoded, special["assistant"]] if roles else [special["bos"], *encoded]

    def embed(ids: list[int]) -> np.ndarray:
        return thinker["embed"](input_ids=np.array([ids], np.int64))["inputs_embeds"]

    pieces = [embed(before)] if before else []
    if picture is not None:
        entry, image = bundle.part("image")
        inputs = square(picture, entry["config"]["size"], entry["config"]["fit"])
        pieces.append(image["projector"](tokens=image["encoder"](inputs=inputs[None])["tokens"])["inputs_embeds"])
    new = np.concatenate([*pieces, embed(after)], axis=1)
    held, answer = new.shape[1], []
    while len(answer) < settings.get("max_tokens", 256) and held <= config["config"]["ctx_len"]:
        token = int(thinker["thinker"](inputs_embeds=new)["logits"][0, -1].argmax())
        if token == special["eos"]:
            break
        answer.append(token)
        new, held = embed([token]), held + 1
    return tokenizer.decode(answer)


def square(picture: np.ndarray, size: int, fit: str) -> np.ndarray:
    """(3,H,W) uint8 -> (3,size,size): the longer side is scaled, and the bars have the color of the picture's edge."""
    height, width = picture.shape[1:]
    scale = size / max(height, width)
    inner = (max(1, round(height * scale)), max(1, round(width * scale))) if fit != "stretch" else (size, size)
    small = resize(resize(picture, inner[1]).swapaxes(1, 2), inner[0]).swapaxes(1, 2)
    edge = np.concatenate([small[:, 0], small[:, -1], small[:, :, 0], small[:, :, -1]], axis=1)
    page = np.broadcast_to(np.median(edge, axis=1).astype(np.uint8)[:, None, None], (3, size, size)).copy()
    top, left = (size - inner[0]) // 2, (size - inner[1]) // 2
    page[:, top : top + inner[0], left : left + inner[1]] = small
    return page


def resize(rows: np.ndarray, size: int) -> np.ndarray:
    """(...,W) uint8 -> (...,size) by bicubic interpolation, antialiased where it shrinks."""
    scale = rows.shape[-1] / size
    wide = max(scale, 1.0)
    if scale == 1:
        return rows
    centers = (np.arange(size) + 0.5) * scale
    places = np.arange(rows.shape[-1])[:, None]
    inside = (places >= np.trunc(centers - 2 * wide + 0.5)) & (places < np.trunc(centers + 2 * wide + 0.5))
    x = np.abs((places - centers + 0.5) / wide)
    near, far = (1.5 * x - 2.5) * x * x + 1, ((-0.5 * x + 2.5) * x - 4) * x + 2
    weights = np.where(inside, np.where(x < 1, near, np.where(x < 2, far, 0)), 0)
    return np.clip(np.floor(rows @ (weights / weights.sum(0)) + 0.5), 0, 255).astype(np.uint8)


def read_png(path: Path) -> np.ndarray:
    """A PNG of 8 bits, not interlaced, without a palette -> (3,H,W) uint8, over white."""
    content, at, data, header = path.read_bytes(), 8, b"", b""
    while at < len(content):
        length, kind = struct.unpack(">I4s", content[at : at + 8])
        chunk = content[at + 8 : at + 8 + length]
        header, data = (chunk if kind == b"IHDR" else header), (data + chunk if kind == b"IDAT" else data)
        at += 12 + length
    width, height, bits, color, _, _, interlaced = struct.unpack(">IIBBBBB", header)
    if bits != 8 or color == 3 or interlaced:
        sys.exit(f"{path}: only plain PNG files of 8 bits are read here")
    each = {0: 1, 2: 3, 4: 2, 6: 4}[color]
    raw = np.frombuffer(zlib.decompress(data), np.uint8).reshape(height, 1 + width * each)
    rows = np.zeros((height + 1, width * each + each), np.int32)  # a row above and a pixel before, of zeros
    for y in range(height):
        above, kind = rows[y], raw[y, 0]
        for x in range(each, rows.shape[1]):
            a, b, c = rows[y + 1, x - each], above[x], above[x - each]
            distances = abs(b - c), abs(a - c), abs(a + b - 2 * c)
            paeth = (a, b, c)[min(range(3), key=lambda n: distances[n])]
            rows[y + 1, x] = (int(raw[y, 1 + x - each]) + (0, a, b, (a + b) // 2, paeth)[kind]) & 255
    pixels = rows[1:, each:].reshape(height, width, each)
    if each in (2, 4):
        alpha = pixels[..., -1:]
        pixels = (pixels[..., :-1] * alpha + 255 * (255 - alpha) + 127) // 255
    return np.ascontiguousarray(np.broadcast_to(pixels, (height, width, 3)).transpose(2, 0, 1).astype(np.uint8))


# Speech


def tts(bundle: Bundle, text: str) -> tuple[np.ndarray, int]:
    """(N,) samples of a text in letters and marks, and their rate."""
    codes = []
    for sentence in re.findall(r"[^.?!]+[.?!]?", re.sub(rf"[^{re.escape(ALPHABET)}]", " ", text.lower())):
        if spoken := " ".join(sentence.split()):
            codes += say(bundle, spoken)
    if not codes:
        sys.exit("there is nothing to say")
    entry, codec = bundle.part("codec")
    config = entry["config"]
    late = config["lookahead"]
    frames = np.array([[*codes, *[[0] * config["codebooks"]] * late]], np.int64)
    real = (np.arange(frames.shape[1]) < len(codes)).astype(np.float32)[None]
    mel = codec["decoder"](codes=frames, real=real)["mel"][:, late * config["frame"] :]
    return vocode(bundle, mel), config["mel"]["sample_rate"]


def say(bundle: Bundle, spoken: str) -> list[list[int]]:
    """The code frames of one sentence."""
    entry, graphs = bundle.part("talker")
    config, each = entry["config"], entry["config"]["subframes"]
    ids = np.array([[1, *(3 + ALPHABET.index(character) for character in spoken), 2]], np.int64)
    feeds = {"ids": ids, "voice": np.zeros(1, np.int64)}
    if entry["thinker_width"]:
        feeds["thoughts"] = np.zeros((1, ids.shape[1], entry["thinker_width"]), np.float32)
    made = graphs["reader"](**feeds)
    slots, clock = [], 0.0
    for place, lasting in enumerate(made["durations"][0].tolist()):
        clock += lasting
        count = round(clock) - len(slots)
        slots += [(place, n, count - 1 - n) for n in range(count)]
    extra = -len(slots) % each
    slots += [(ids.shape[1] - 1, n, extra - 1 - n) for n in range(extra)]
    under = np.array(slots, np.int64).reshape(1, -1, each, 3)
    plan = graphs["framer"](features=made["features"], symbol=under[..., 0], elapsed=under[..., 1], left=under[..., 2])
    plan = plan["plan"]
    words = spoken.split()
    most = min(max(50, min(1000, max(30 * len(words), 6 * sum(map(len, words))))), config["ctx_len"])
    codes: list[list[int]] = []
    before = np.zeros((1, 1, entry["codes"]["codebooks"]), np.int64)
    for t in range(min(plan.shape[1], most)):
        if "step" in graphs:
            state = graphs["step"](before=before, plan=plan[:, t : t + 1])["states"][0]
        else:
            state = graphs["whole"](plan=plan[:, :most])["states"][0, t : t + 1]
        code: list[int] = []
        for q in range(entry["codes"]["codebooks"]):
            given = {"codes": np.array([code], np.int64)} if q else {}
            code.append(int(graphs[f"head{q}"](states=state, **given)["logits"][0].argmax()))
        codes.append(code)
        before = np.array([[code]], np.int64)
    return codes


def vocode(bundle: Bundle, mel: np.ndarray) -> np.ndarray:
    """(1,M,F) log-mel -> (M * hop,) samples."""
    entry, graphs = bundle.part("vocoder")
    entry["use"] in ("vocos", "griffin-lim") or sys.exit(f"the vocoder {entry['use']} is not run here")
    settings, vocoder = entry["mel"], graphs["vocoder"]
    count, drop = mel.shape[1] * settings["hop"], settings["window"] // 2
    if entry["use"] == "vocos":
        late = entry["config"]["lookahead"]
        log = math.log10 if settings.get("log") == "log10" else math.log
        silence = np.full((1, late, settings["n_mels"]), log(settings["mel_floor"]), np.float32)
        mel, drop = np.concatenate([mel, silence], axis=1), drop + late * settings["hop"]
        made = vocoder(mel=mel, real=(np.arange(mel.shape[1]) >= late).astype(np.float32)[None])
    else:
        made = vocoder(mel=mel, ahead=mel[:, :0])
    samples = np.concatenate([made["samples"][0], made["rest"][0]])[drop : drop + count]
    return np.pad(samples, (0, count - samples.size))


# Transcription


def listen(bundle: Bundle, samples: np.ndarray) -> str:
    """What is said in (N,) samples at the encoder's rate; up to 20 s."""
    name = "audio-alone" if "audio-alone" in bundle.manifest["parts"] else "audio"
    entry, graphs = bundle.part(name)
    config = entry["config"]
    token = config["hop"] * config["downsample"]
    room = round(0.16 * config["sample_rate"] / token) * token
    tokens = graphs["encoder"](inputs=np.pad(samples, room).astype(np.float32)[None])["tokens"]
    classes = graphs["head"](tokens=tokens)["scores"][0].argmax(1).tolist()
    kept = [one for one, last in zip(classes, [0, *classes[:-1]], strict=True) if one != last and one]
    return " ".join("".join(config["characters"][one - 1] for one in kept).split())


def main() -> None:
    if len(sys.argv) not in (4, 5):
        sys.exit(__doc__)
    command, folder, given, *more = sys.argv[1:]
    bundle = Bundle(Path(folder))
    if command == "chat":
        print(chat(bundle, given, read_png(Path(more[0])) if more else None))
    elif command == "tts":
        samples, rate = tts(bundle, given)
        with wave.open(more[0] if more else "speech.wav", "wb") as file:
            file.setparams((1, 2, rate, 0, "NONE", ""))
            file.writeframes((np.clip(samples, -1, 1) * 32767).astype("<i2").tobytes())
    elif command == "listen":
        with wave.open(given, "rb") as file:
            if file.getsampwidth() != 2 or file.getnchannels() != 1 or file.getframerate() != 16000:
                sys.exit("give a WAV file of 16 bits, one channel and 16000 samples a second")
            print(listen(bundle, np.frombuffer(file.readframes(file.getnframes()), "<i2") / np.float32(32768)))
    else:
        sys.exit(__doc__)


if __name__ == "__main__":
    main()
