"""What docs/bundle.md says is enough to run a bundle: a runtime written from it, of numpy, onnxruntime and tokenizers
alone, gives what ours gives."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnxruntime
import soundfile
from PIL import Image
from tokenizers import Tokenizer

from muomni_cli import load

if TYPE_CHECKING:
    from tests.tiny_model import Whole


class Graph:
    """A graph that keeps its states from call to call."""

    def __init__(self, root: Path, entry: Any) -> None:
        self._session = onnxruntime.InferenceSession(str(root / entry["file"]), providers=["CPUExecutionProvider"])
        self._entry = entry
        self._now = {name: np.zeros(self._shape(name), entry["types"][name]) for name in entry["states"]}

    def _shape(self, name: str) -> list[int]:
        fresh = {"batch": 1, "past": 0, "known": 0}
        return [axis if isinstance(axis, int) else fresh[axis] for axis in self._entry["inputs"][name]]

    def __call__(self, **feeds: Any) -> dict[str, Any]:
        names = self._entry["outputs"]
        made = dict(zip(names, self._session.run(names, {**feeds, **self._now}), strict=True))
        self._now = {name: made[now] for name, now in self._entry["states"].items()}
        return made


class Page:
    """A bundle as the page tells of it."""

    def __init__(self, root: Path) -> None:
        self.root, self.manifest = root, json.loads((root / "muomni.json").read_text(encoding="utf-8"))
        self.parts = self.manifest["parts"]

    def graph(self, part: str, name: str) -> Graph:
        return Graph(self.root, self.parts[part]["graphs"][name])

    def rows(self, modality: str, inputs: Any) -> Any:
        tokens = self.graph(modality, "encoder")(inputs=inputs[None])["tokens"]
        return self.graph(modality, "projector")(tokens=tokens)["inputs_embeds"]

    def answer(self, text: str, media: list[Any]) -> str:
        """Greedily, by the template ``roles``."""
        special = self.manifest["special_tokens"]
        embed, think = self.graph("thinker", "embed"), self.graph("thinker", "thinker")
        words = Tokenizer.from_file(str(self.root / "tokenizer" / "tokenizer.json"))

        def embedded(*ids: int) -> Any:
            return embed(input_ids=np.array([ids], np.int64))["inputs_embeds"]

        asked = embedded(*words.encode(text, add_special_tokens=False).ids, special["assistant"])
        new, said = np.concatenate([embedded(special["bos"], special["user"]), *media, asked], axis=1), []
        while len(said) < self.manifest["chat"]["max_tokens"]:
            token = int(think(inputs_embeds=new)["logits"][0, -1].argmax())
            if token == special["eos"]:
                break
            said.append(token)
            new = embedded(token)
        return str(words.decode(said))

    def codes(self, text: str, speed: float, voice: int) -> Any:
        """(T,Q) of one sentence of plain words, by the Talker ``cursor``."""
        entry = self.parts["talker"]
        alphabet, slots, count = "abcdefghijklmnopqrstuvwxyz' .,?!;:-", entry["config"]["subframes"], len(text.split())
        ids = np.array([[1, *(3 + alphabet.index(character) for character in text), 2]])
        hidden_states = np.zeros((1, ids.size, entry["thinker_width"]), np.float32)
        read = self.graph("talker", "reader")(ids=ids, voice=np.array([voice]), thoughts=hidden_states)
        clock, alignment = 0.0, []
        for place, lasting in enumerate(read["durations"][0].tolist()):
            clock += lasting / speed
            n = round(clock) - len(alignment)
            alignment += [(place, i, n - 1 - i) for i in range(n)]
        n = -len(alignment) % slots
        alignment += [(ids.size - 1, i, n - 1 - i) for i in range(n)]
        under = np.array(alignment).reshape(1, -1, slots, 3)
        symbol, elapsed, left = (np.ascontiguousarray(under[..., n]) for n in range(3))
        plan = self.graph("talker", "framer")(features=read["features"], symbol=symbol, elapsed=elapsed, left=left)[
            "plan"
        ]
        most = min(plan.shape[1], max(50, min(1000, 30 * count)), entry["config"]["ctx_len"])
        step, heads = self.graph("talker", "step"), [self.graph("talker", f"head{q}") for q in (0, 1)]
        before, made = np.zeros(2, np.int64), []
        for t in range(most):
            state = step(before=before[None, None], plan=plan[:, t : t + 1])["states"][:, 0]
            before = np.zeros(2, np.int64)
            before[0] = heads[0](states=state)["logits"][0].argmax()
            before[1] = heads[1](states=state, codes=before[None, :1])["logits"][0].argmax()
            made.append(before)
        return np.array(made)

    def sound(self, codes: Any) -> Any:
        """(N,) samples, by the codec ``rvq`` and the vocoder ``vocos``, in two pieces."""
        config, mel = self.parts["codec"]["config"], self.parts["vocoder"]["mel"]
        decoder, late = self.graph("codec", "decoder"), config["lookahead"]
        given = [(codes, 1.0), (np.zeros((late, codes.shape[1]), np.int64), 0.0)]
        made = [
            decoder(codes=piece[None], real=np.full((1, len(piece)), real, np.float32))["mel"][0]
            for piece, real in given
        ]
        heard = np.concatenate(made)[late * config["frame"] :]
        vocoder, late = self.graph("vocoder", "vocoder"), self.parts["vocoder"]["config"]["lookahead"]
        silence = np.full((late, mel["n_mels"]), np.log(mel["mel_floor"]), np.float32)
        samples, first = [], 0
        for piece in (heard[:5], heard[5:], silence):
            real = (np.arange(first, first + len(piece)) >= late).astype(np.float32)[None]
            out, first = vocoder(mel=piece[None], real=real), first + len(piece)
            samples.append(out["samples"][0])
        whole = np.concatenate([*samples, out["rest"][0]])[mel["window"] // 2 + late * mel["hop"] :]
        return whole[: mel["hop"] * len(heard)]

    def heard(self, wave: Any) -> str:
        """Greedily."""
        room = round(0.16 * 16000 / 640) * 640
        tokens = self.graph("audio", "encoder")(inputs=np.pad(wave, room)[None])["tokens"]
        best = self.graph("audio", "head")(tokens=tokens)["scores"][0].argmax(1)
        runs = [symbol for n, symbol in enumerate(best) if symbol and (n == 0 or best[n - 1] != symbol)]
        return "".join(self.parts["audio"]["config"]["characters"][symbol - 1] for symbol in runs)


def test_a_runtime_written_from_the_page_gives_the_same(whole: Whole) -> None:
    page, omni = Page(whole.bundle), load(whole.bundle, threads=1)
    pixels = np.asarray(Image.open(whole.picture).resize((32, 32), Image.Resampling.BICUBIC)).transpose(2, 0, 1)
    wave, _ = soundfile.read(whole.sound, dtype="float32")
    media = [page.rows("image", np.ascontiguousarray(pixels)), page.rows("audio", wave)]
    asked = {"image": whole.picture, "audio": whole.sound, "loop_guard": False}  # which the page's runtime has not
    assert page.answer("what is this?", media) == omni.chat("what is this?", **asked)
    assert " ".join(page.heard(wave).split()) == omni.transcribe(whole.sound)
    samples, _ = omni.speak("hello there you", voice="bob", speed=0.9, temperature=0)
    np.testing.assert_allclose(page.sound(page.codes("hello there you", 0.9, 1)), samples, atol=1e-5)
