"""Mistakes in recipes: the key, its line, and what was probably meant.

:data:`USUAL` maps names of other tools to ours. :func:`key_lines` finds the line of every key, which tomllib does not
report, by parsing one statement after the other; it expects valid TOML.
"""

from __future__ import annotations

import tomllib
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from muomni_cli.core.errors import RequestError
from muomni_cli.recipe.toml import KeyPath, TomlLimitError, parse, walk
from muomni_cli.registry.registry import nearest

LOOKED_AT = 1 << 18  # most characters that :func:`key_lines` parses again
_LONGEST = 300  # characters of a message, a key or an override that are shown
_CLOSINGS = [
    string + end for end in ("", "]", "]]", "]}", "]]]", "]}]", "]]}", "]}]]") for string in ("", '"""', "'''")
]
"""What completes a value whose first lines are known: first nothing, then ends of strings and arrays."""

USUAL: Mapping[str, tuple[str, ...]] = {
    name: tuple(ours.split())
    for names, ours in (
        ("epochs num_epochs n_epochs num_train_epochs max_epochs max_steps n_steps num_steps total_steps "
         "iterations iters max_iters num_iters num_iterations train_steps", "steps"),
        ("learning_rate learningrate lrate max_lr base_lr peak_lr", "lr"),
        ("batch bs batchsize minibatch mini_batch_size train_batch_size per_device_train_batch_size", "batch_size"),
        ("warmup warmup_ratio warmup_iters num_warmup_steps warmup_epochs warm_up", "warmup_steps"),
        ("grad_clip max_grad_norm gradient_clip gradient_clipping clip_norm clip_grad clip_grad_norm", "clip"),
        ("wd decay_weights weightdecay l2", "weight_decay"),
        ("gradient_accumulation_steps gradient_accumulation grad_accum grad_accum_steps accum_steps "
         "accumulate_grad_batches accumulation_steps", "accumulate"),
        ("dtype mixed_precision amp bf16 fp16 autocast torch_dtype", "precision"),
        ("eval_every eval_interval eval_steps validate_every val_interval val_check_interval evaluation_steps",
         "val_every"),
        ("eval_iters eval_batches", "val_batches"),
        ("save_steps save_interval checkpoint_every ckpt_every checkpoint_interval", "save_every"),
        ("logging_steps log_interval log_steps print_every", "log_every"),
        ("sample_interval sample_steps", "sample_every"),
        ("optim opt optimiser", "optimizer"),
        ("lr_scheduler lr_scheduler_type scheduler lr_schedule lr_decay", "schedule"),
        ("min_learning_rate lr_min final_lr eta_min", "min_lr"),
        ("ema_decay use_ema", "ema"),
        ("torch_compile", "compile"),
        ("gradient_checkpointing activation_checkpointing grad_checkpointing", "checkpoint_activations"),
        ("num_workers workers n_workers num_threads n_threads cpus", "threads"),
        ("adam_eps adam_epsilon epsilon", "eps"),
        ("adam_betas beta1 beta2 adam_beta1 adam_beta2", "betas"),
        ("resume_from init_from pretrained from_pretrained", "init"),
        ("gpu cuda accelerator", "device"),
        ("random_seed random_state manual_seed rng_seed", "seed"),
        ("hidden_size hidden_dim dim n_embd n_embed embed_dim embedding_dim d_embed emb_dim model_dim width "
         "d_hidden n_state", "d_model width channels"),
        ("num_layers layers n_layer num_hidden_layers depth n_blocks num_blocks nlayers", "n_layers layers"),
        ("num_heads n_head heads num_attention_heads nhead nheads", "n_heads"),
        ("n_kv_head num_kv_heads num_key_value_heads kv_heads", "n_kv_heads"),
        ("intermediate_size ffn_dim ff_dim mlp_dim d_inner d_mlp dim_feedforward ffn_hidden_size", "d_ff"),
        ("max_seq_len max_seq_length max_len block_size seq_len seq_length sequence_length context_length ctx "
         "context_size context n_ctx n_positions max_position_embeddings window", "ctx_len"),
        ("vocab vocabulary n_vocab vocabulary_size num_tokens", "vocab_size"),
        ("tie_weights tie_word_embeddings tied weight_tying", "tie_embeddings"),
        ("rope_base theta", "rope_theta"),
        ("image_size img_size resolution", "size"),
        ("patch_size", "patch"),
        ("hop_length", "hop"),
        ("mels num_mels mel_bins n_mel_channels num_mel_bins", "n_mels"),
        ("sr sampling_rate samplerate", "sample_rate"),
        ("n_codebooks num_codebooks num_quantizers n_q", "codebooks bandwidth"),
        ("codebooks", "bandwidth"),
        ("temp", "temperature"),
        ("max_new_tokens n_predict num_predict", "max_tokens"),
        ("topk", "top_k"),
        ("topp nucleus", "top_p"),
        ("rep_penalty", "repetition_penalty"),
        ("system_prompt", "system"),
        ("stop_sequences eos", "stop"),
        ("validation_split val_split test_size val_ratio val_size", "val_fraction"),
        ("file files filename folder dir directory data_dir data_path", "path"),
        ("max_length", "ctx_len max_tokens"),
    )
    for name in names.split()
}  # fmt: skip
"""Name in other tools -> our names; the first that the table has is suggested."""

NOTES: Mapping[str, str] = {
    "epochs": "one epoch is the number of training examples divided by batch_size",
    "warmup_ratio": "in steps: the ratio times steps",
}
"""Additional hints by the name that was written."""


def key_lines(text: str) -> dict[KeyPath, int]:
    """Path of every key, table and array element of ``text`` -> line number from 1."""
    found: dict[KeyPath, int] = {}
    lengths: Counter[KeyPath] = Counter()  # arrays of tables: number of elements so far
    table: KeyPath = ()
    statement = ""  # a header or one key and its value: the lines up to here
    left = LOOKED_AT
    for number, line in enumerate(text.split("\n"), 1):
        statement += f"{line}\n"
        left -= len(statement) - len(line)
        if left < 0:  # a value of thousands of lines is parsed again with each
            break
        values, complete = _parsed(statement)
        if statement.lstrip().startswith("["):
            table, inner = (), values
            while inner:
                ((name, inner),) = inner.items()
                table = (*table, name)
                found.setdefault(table, number)
                if isinstance(inner, list):
                    lengths[table] += 1
                    inner = inner[0]
                if table in lengths:  # an array of tables stands for its last element
                    table = (*table, lengths[table] - 1)
                    found.setdefault(table, number)
        else:
            for path, _ in walk(values):
                found.setdefault((*table, *path), number)
        statement = "" if complete else statement
    return found


def _parsed(statement: str) -> tuple[Any, bool]:
    """A statement as if it ended here, although it may continue on further lines, and whether it does end here."""
    for closing in _CLOSINGS:
        with suppress(tomllib.TOMLDecodeError, TomlLimitError):
            return parse(statement + closing), not closing
    return {}, False


def usual(name: str, names: Collection[str]) -> str | None:
    """Our name for ``name`` in ``names``, if other tools call it that."""
    plain = name.strip().lower().replace("-", "_")
    return next((one for one in USUAL.get(plain, ()) if one in names and one != name), None)


def note_on(name: str) -> str:
    """A hint to append to a suggestion; may be empty."""
    plain = name.strip().lower().replace("-", "_").removeprefix("num_").removeprefix("n_")
    return f" ({NOTES[plain]})" if plain in NOTES else ""


@dataclass(frozen=True, slots=True)
class Mistake:
    key: str  # dotted path of the key, as in an override
    message: str  # what is wrong, with the nearest valid name if there is one
    where: str  # ``recipe.toml:12`` or ``override 'train.steps=x'``
    line: int = 0  # in the file; 0 for an override

    def __post_init__(self) -> None:
        for name in ("key", "message", "where"):
            object.__setattr__(self, name, _on_one_line(getattr(self, name)))

    def __str__(self) -> str:
        return f"{self.where}: {self.key}: {self.message}" if self.key else f"{self.where}: {self.message}"


def _on_one_line(text: str) -> str:
    """Long text without its middle, and without control characters."""
    if len(text) > _LONGEST:
        text = f"{text[: _LONGEST // 2]} ... {text[-_LONGEST // 2 :]}"
    return "".join(sign if sign.isprintable() else repr(sign)[1:-1] for sign in text)


class RecipeMistakesError(RequestError):
    def __init__(self, recipe: str, mistakes: Sequence[Mistake]) -> None:
        self.mistakes = sorted(mistakes, key=lambda mistake: (mistake.line, mistake.key))
        count = "1 mistake" if len(self.mistakes) == 1 else f"{len(self.mistakes)} mistakes"
        lines = "".join(f"\n  {mistake}" for mistake in self.mistakes)
        super().__init__(
            f"{recipe} has {count}:{lines}",
            "fix them and run muomni recipes check; muomni recipes show --resolved explains every key",
        )


def dotted(path: KeyPath) -> str:
    """``("data", "text", 0, "path")`` -> ``data.text.0.path``."""
    return ".".join(str(step) for step in path)


def from_pydantic(error: ValidationError, model: type[BaseModel], at: KeyPath) -> Iterator[tuple[KeyPath, str]]:
    """The mistakes of one validated table as (path, message). ``at``: path of the table in the recipe."""
    for item in error.errors(include_url=False):
        owner, location = _owner(model, tuple(step for step in item["loc"] if isinstance(step, str | int)))
        yield (*at, *location), _message(dict(item), location, owner)


def _owner(model: type[BaseModel], location: KeyPath) -> tuple[type[BaseModel], KeyPath]:
    """The settings class that has the last key of ``location``, and the location as written in the recipe (without the
    union members that pydantic inserts)."""
    kind: Any = model
    owner, path = model, list[str | int]()
    for step in location:
        while get_origin(kind) is Annotated:
            kind = get_args(kind)[0]
        members = [one for one in get_args(kind) if _is_settings(one)] if get_origin(kind) in (Union, UnionType) else []
        if len(members) > 1:
            kind = next((one for one in members if step in _tags(one)), None)
            continue
        path.append(step)
        kind = members[0] if members else kind
        if _is_settings(kind):
            owner = kind
            field = _fields(owner).get(str(step))
            kind = field.annotation if field else None
        else:
            arguments = get_args(kind)
            kind = arguments[isinstance(step, str)] if len(arguments) > isinstance(step, str) else None
    return owner, tuple(path)


def _is_settings(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, BaseModel)


def _tags(model: type[BaseModel]) -> set[Any]:
    """Discriminator values: those of its fields with a single possible value."""
    literal = [field.annotation for field in model.model_fields.values() if get_origin(field.annotation) is Literal]
    return {get_args(annotation)[0] for annotation in literal if len(get_args(annotation)) == 1}


def _fields(model: type[BaseModel]) -> dict[str, FieldInfo]:
    return {field.alias or name: field for name, field in model.model_fields.items()}


def _message(item: dict[str, Any], location: KeyPath, model: type[BaseModel]) -> str:
    if item["type"] == "extra_forbidden":
        return unknown(str(location[-1]), list(_fields(model)), "key")
    if item["type"] == "string_pattern_mismatch":
        key = next(step for step in reversed(location) if isinstance(step, str))
        return f"invalid value {item['input']!r}: {_fields(model)[key].description}"
    if item["type"] == "union_tag_not_found":
        return f'needs {str(item["ctx"]["discriminator"]).strip(chr(39))} = "...", which says what else is in it'
    if item["type"] == "union_tag_invalid":
        tags = [tag.strip(" '") for tag in str(item["ctx"]["expected_tags"]).split(",")]
        return unknown(str(item["ctx"]["tag"]), tags, str(item["ctx"]["discriminator"]).strip("'"))
    if item["type"] == "literal_error":
        wanted = str(item["ctx"]["expected"])
        near = nearest(str(item["input"]), [option.strip(" '") for option in wanted.replace(" or ", ",").split(",")])
        return f"{item['input']!r} is not {wanted}" + (f"; did you mean {near!r}?" if near else "")
    message = str(item["msg"]).removeprefix("Value error, ")
    message = message[:1].lower() + message[1:]
    given = item.get("input")
    return f"{given!r}: {message}" if isinstance(given, str | int | float | bool) else message


def unknown(name: str, names: Sequence[str], what: str) -> str:
    """``unknown key 'n_layer'; did you mean 'n_layers'?``; knows names of other tools."""
    near = usual(name, names) or nearest(name, names)
    hint = f"did you mean {near!r}?{note_on(name)}" if near else f"known: {', '.join(names) or 'none'}"
    return f"unknown {what} {name!r}; {hint}"
