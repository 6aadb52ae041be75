"""Training of a Talker: teacher forcing on codes shifted by one, with durations from forced alignment.

To keep small Talkers from babbling, some previous frames are replaced by random ones, and sometimes all are hidden.

Shapes: B batch, S symbols, U slots, T frames, Q codebooks.
"""

from __future__ import annotations

import io
import itertools
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import soundfile  # type: ignore[import-untyped]
import torch
import torch.nn.functional as F  # noqa: N812
from numpy.typing import NDArray
from torch import Tensor

from muomni_cli.api import Batch, Loss, Sample, TextChunk, VoiceSettings, is_waveform, sample_rate_of
from muomni_cli.audio.mel import codes_to_samples
from muomni_cli.nn.collectives import share, totals
from muomni_talker.model import Alignment, TalkerBase, summed
from muomni_talker.plugin import CursorConfig
from muomni_talker.text_frontend import pronounceable, pronounced, script
from muomni_talker.text_normalization import written_form

if TYPE_CHECKING:
    from muomni_cli.api import StageContext

SHOWN = 3  # held-out texts synthesized as samples


class TalkerObjective:
    """A :class:`muomni_cli.api.Objective`: the codes of every utterance and the durations of its characters."""

    unit = "frames"

    def __init__(self, talker: TalkerBase, context: StageContext) -> None:
        self.module = talker
        self.blocks = list(talker.stack.blocks)
        tables = {"table", "voices", "elapsed", "left", "tables", "heads", "history"}  # embeddings and output heads
        self.adamw_params = frozenset(
            name for name, value in talker.named_parameters() if value.ndim > 1 and tables & {*name.split(".")[:-1]}
        )
        self._context, self._settings, self._seed = context, context.settings, context.seed
        self._config, self._slots = talker.config, talker.config.subframes
        speech = context.speech(pronounceable)
        if talker.thinker_width:
            context.hidden_states("")  # loads the Thinker now, not in the thread that prepares batches
        self._train, self._val = speech.train, speech.val

    def batch(self, step: int, micro: int) -> Batch:
        """Micro-batch ``micro`` of the step; replaced and hidden frames are drawn by seed, step and row."""
        chosen = self._train.batch(step, self._settings.batch_size)
        shares = self._settings.accumulate
        rows = range(len(chosen) * micro // shares, len(chosen) * (micro + 1) // shares)
        return self._collate(self._train, [chosen[r] for r in rows], [[self._seed, step, row] for row in rows])

    def loss(self, batch: Batch) -> Loss:
        """Nats of base codes, residual codes and durations, summed over frames."""
        tensors = batch.tensors
        given, features = self._predict(batch)
        frames = summed(given, tensors["codes"], tensors["real"])
        symbols = tensors["ids"] != written_form.PAD
        lasting = F.cross_entropy(
            self.module.reader.lasting(features)[symbols].float(),
            tensors["lasting"][symbols].clamp(max=self._config.max_duration),
            reduction="sum",
        )
        logs = {"base": frames[0].detach(), "lasting": lasting.detach()}
        if len(frames) > 1:
            logs["residual"] = torch.stack(frames[1:]).detach().sum()
        return Loss(torch.stack(frames).sum() + self._config.duration_weight * lasting, logs)

    def validate(self) -> dict[str, float]:
        """``loss`` in nats per frame over all codebooks, teacher forced; the accuracy of codes (``right_base``,
        ``right_residual``); and ``length``, the mean relative error of sentence lengths."""
        was_training = self.module.training
        self.module.eval()
        nats = frames = base = residual = wrong = sentences = 0.0
        batches = self._val.batches(self._settings.batch_size)
        with torch.no_grad():
            for rows in share(itertools.islice(batches, self._settings.val_batches or None)):
                batch = self._collate(self._val, rows, None)
                batch.tensors = {name: one.to(self._context.device) for name, one in batch.tensors.items()}
                tensors = batch.tensors
                given, features = self._predict(batch)
                nats += float(sum(summed(given, tensors["codes"], tensors["real"])))
                right = [(one.argmax(-1) == tensors["codes"][..., q])[tensors["real"]] for q, one in enumerate(given)]
                base += float(right[0].sum())
                residual += float(sum(one.float().sum() for one in right[1:])) / max(1, len(right) - 1)
                frames += batch.weight
                expected = self.module.reader.expected(features) * (tensors["ids"] != written_form.PAD)
                true = tensors["lasting"].sum(1)
                wrong += float(((expected.sum(1) - true).abs() / true).sum())
                sentences += len(rows)
        self.module.train(was_training)
        nats, frames, base, residual, wrong, sentences = totals([nats, frames, base, residual, wrong, sentences])
        found = {"loss": nats / frames, "right_base": base / frames, "length": wrong / sentences}
        if self.module.codes.codebooks > 1:
            found["right_residual"] = residual / frames
        return found

    def samples(self, step: int) -> Iterator[Sample]:  # noqa: ARG002
        """A few held-out texts, synthesized greedily, if there is a vocoder or the codec needs none."""
        vocoder, codec, device = self._context.vocoder(), self._context.codec(), self._context.device
        if vocoder is None and not is_waveform(codec):
            return
        was_training = self.module.training
        self.module.eval()
        with torch.autocast(device.type, enabled=False):  # same precision as in inference
            for number in np.linspace(0, len(self._val) - 1, min(SHOWN, len(self._val))).astype(int).tolist():
                said, voice = [TextChunk(self._val.texts[number])], VoiceSettings(self._val.voices[number] or None)
                codes = np.concatenate(list(self.module.speak(said, voice, lambda logits: int(logits.argmax()))))
                wave = codes_to_samples(codec, vocoder, codes, device)
                file = io.BytesIO()
                soundfile.write(file, wave, sample_rate_of(codec), format="WAV", subtype="PCM_16")
                yield Sample(f"{number}.wav", file.getvalue())
                yield Sample(f"{number}.txt", self._val.texts[number] + "\n")
        self.module.train(was_training)

    def _predict(self, batch: Batch) -> tuple[list[Tensor], Tensor]:
        """Q times (B,T,K) logits, and (B,S,W) features."""
        tensors, talker = batch.tensors, self.module
        features = talker.reader(tensors["ids"], tensors["voice"], tensors.get("thoughts"))
        alignment = Alignment(tensors["symbol"], tensors["elapsed"], tensors["left"])
        plan = talker.framer(features, alignment, tensors["frames"])
        plan = torch.where(tensors["said"][:, None, None], plan, talker.framer.nothing.to(plan.dtype))
        states = talker.states(
            tensors["before"], plan, lengths=batch.host["frames"], known=tensors["known"][:, None, None]
        )
        return talker.heads(states, tensors["codes"]), features

    def _collate(self, speech: Any, rows: Sequence[int], seeds: Sequence[Sequence[int]] | None) -> Batch:
        """Utterances padded on the right; with ``seeds``, one per row, corrupted as in training."""
        lasting = [self._lasting_of(speech, row) for row in rows]
        frames = [len(speech.codes[row]) for row in rows]
        width, slots = max(frames), max(frames) * self._slots
        ids = np.full((len(rows), max(map(len, lasting))), written_form.PAD)
        counts = np.zeros_like(ids)
        alignment = np.zeros((3, len(rows), slots), np.int64)
        codes = np.zeros((len(rows), width, self.module.codes.codebooks), np.int64)
        for place, (row, own) in enumerate(zip(rows, lasting, strict=True)):
            ids[place, : len(own)] = [written_form.START, *written_form.numbers(speech.texts[row]), written_form.END]
            counts[place, : len(own)] = own
            under = np.repeat(np.arange(len(own)), own)
            elapsed = np.arange(under.size) - np.repeat(np.cumsum(own) - own, own)
            alignment[:, place, : under.size] = under, elapsed, own[under] - 1 - elapsed
            codes[place, : frames[place]] = speech.codes[row]
        before = np.roll(codes, 1, axis=1)
        before[:, 0] = 0
        known, said = np.ones(len(rows), np.float32), np.ones(len(rows), bool)
        if seeds is not None:
            for place, seed in enumerate(seeds):
                known[place], said[place] = self._harden(before[place], frames[place], np.random.default_rng(seed))
        names = self.module.voices
        arrays = {
            "ids": ids,
            "lasting": counts,
            **dict(zip(("symbol", "elapsed", "left"), alignment, strict=True)),
            "voice": np.array([names.index(speech.voices[row]) for row in rows]),
            "codes": codes,
            "before": before,
            "frames": np.array(frames),
            "real": np.arange(width) < np.array(frames)[:, None],
            "known": known,
            "said": said,
        }
        if self.module.thinker_width:
            arrays["thoughts"] = self._hidden_states(speech, rows, seeds, ids.shape[1])
        tensors = {name: torch.from_numpy(array) for name, array in arrays.items()}
        return Batch(tensors, float(sum(frames)), sum(frames), {"frames": frames})

    def _lasting_of(self, speech: Any, row: int) -> NDArray[np.int64]:
        """(S,) durations in slots of the leading silence, each character, and the trailing silence."""
        char_times, frames = speech.char_times[row], len(speech.codes[row])
        slot = self.module.codes.seconds / self._slots
        places = np.clip(np.rint(char_times / slot), 0, frames * self._slots).astype(np.int64)
        return np.diff(np.concatenate([[0], places, [frames * self._slots]]))

    def _harden(self, before: NDArray[np.int64], frames: int, rng: np.random.Generator) -> tuple[float, bool]:
        """Replace some of a row's (T,Q) previous frames in place; return whether the history and the text are kept."""
        config = self._config
        if isinstance(config, CursorConfig):
            wrong = np.flatnonzero(rng.random(frames) < config.input_noise)
            before[wrong] = before[rng.integers(0, frames, wrong.size)]
        forgotten = isinstance(config, CursorConfig) and rng.random() < config.history_dropout
        return float(not forgotten), bool(rng.random() >= config.text_dropout)

    def _hidden_states(
        self, speech: Any, rows: Sequence[int], seeds: Sequence[Sequence[int]] | None, width: int
    ) -> NDArray[np.float32]:
        """(B,S,Dh): for each character the Thinker state that predicted its word; zeros where there is none, and with
        ``seeds`` in some of the rows."""
        found = np.zeros((len(rows), width, self.module.thinker_width), np.float32)
        for place, row in enumerate(rows):
            if seeds and np.random.default_rng([*seeds[place], 1]).random() < self._config.hidden_state_dropout:
                continue
            begin = 1  # after the leading silence
            for word in pronounced(script(self._context.hidden_states(speech.written[row]))):
                if word.hidden is not None:
                    found[place, begin : begin + len(word.text)] = word.hidden
                begin += len(word.text) + word.ends  # a space separates sentences
        return found
