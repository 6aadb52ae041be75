"""``muomni data export --parquet``: items as rows of a Parquet file that the package ``datasets`` opens, with media as
its features Image and Audio.

The schema's metadata entry ``huggingface`` names the features, as in files that ``datasets`` writes:
<https://huggingface.co/docs/datasets/about_dataset_features>
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from muomni_cli.contract.data import Conversation, Document, Example, Item, Media
from muomni_cli.core.errors import RequestError, require
from muomni_cli.core.files import replacing
from muomni_cli.data.export import ExportedExample, items_of, said
from muomni_cli.data.split import Split

if TYPE_CHECKING:
    from muomni_cli.recipe.model import Recipe

ROWS = 64  # of a row group, which bounds memory: they are held until it is written
FEATURES = {"image": "Image", "audio": "Audio"}  # of other modalities, the bytes and the name are a plain record
TEXT = {"dtype": "string", "_type": "Value"}


def export_parquet(
    recipe: Recipe, table: str, source: str, folder: Path, *, split: Split, count: int
) -> list[ExportedExample]:
    """:func:`muomni_cli.data.export.export_examples` as one file, ``<split>.parquet``, with the media inside.

    Raises:
        RequestError: no such table or source, it has nothing for that split, or its items are not alike.
        MuomniError: pyarrow is not installed, or the file cannot be written.
    """
    path = folder / f"{split}.parquet"
    texts = write_parquet(path, items_of(recipe, table, source, split, count), split)
    return [ExportedExample((path,), text) for text in texts]


def write_parquet(path: Path, items: Iterable[Item], split: Split) -> list[str]:
    """Write ``items`` (at least one) to ``path``; returns their texts. The columns are those of the first item:
    ``text`` of documents; the modality, ``text``, ``label`` and ``voice`` of examples; ``messages`` and, for each
    modality of the first ``ROWS`` items, a list of media of conversations, in the order of ``messages``; then ``key``
    and ``split``.

    Raises:
        RequestError: an item has other columns.
        MuomniError: pyarrow is not installed.
    """
    require("data export --parquet", "pyarrow")
    from pyarrow import parquet

    left = iter(items)
    first = list(islice(left, ROWS))
    columns = _columns(first)
    schema = _schema(columns)
    texts: list[str] = []
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as temporary, parquet.ParquetWriter(temporary, schema) as writer:
        for group in _groups(first, left):
            rows = [_row(item, columns, split) for item in group]
            writer.write_table(_table(rows, schema))
            texts += [said(item) for item in group]
    return texts


def _groups(first: list[Item], left: Iterator[Item]) -> Iterator[list[Item]]:
    group = first
    while group:
        yield group
        group = list(islice(left, ROWS))


def _columns(items: Sequence[Item]) -> dict[str, Any]:
    """Column -> its feature, as ``datasets`` writes it in JSON."""
    match items[0]:
        case Document():
            own: dict[str, Any] = {"text": TEXT}
        case Example():
            modality = items[0].media.modality
            own = {modality: _media_feature(modality), "text": TEXT, "label": TEXT, "voice": TEXT}
        case Conversation():
            shown = [media.modality for item in items for media in _media(item)]
            own = {"messages": {"feature": {"role": TEXT, "content": TEXT}, "_type": "List"}}
            own |= {name: {"feature": _media_feature(name), "_type": "List"} for name in dict.fromkeys(shown)}
        case _:
            raise RequestError("pairs of answers are not exported as Parquet", "export them without --parquet")
    return {**own, "key": TEXT, "split": TEXT}


def _media_feature(modality: str) -> Any:
    if modality in FEATURES:
        return {"_type": FEATURES[modality]}
    return {"bytes": {"dtype": "binary", "_type": "Value"}, "path": TEXT}


def _schema(columns: dict[str, Any]) -> Any:
    import pyarrow

    media = pyarrow.struct([("bytes", pyarrow.binary()), ("path", pyarrow.string())])
    messages = pyarrow.list_(pyarrow.struct([("role", pyarrow.string()), ("content", pyarrow.string())]))

    def type_of(name: str, feature: Any) -> Any:
        if name == "messages":
            return messages
        if feature == TEXT:
            return pyarrow.string()
        return pyarrow.list_(media) if feature.get("_type") == "List" else media

    fields = [(name, type_of(name, feature)) for name, feature in columns.items()]
    metadata = {"huggingface": json.dumps({"info": {"features": columns}})}
    return pyarrow.schema(fields, metadata=metadata)


def _table(rows: list[dict[str, Any]], schema: Any) -> Any:
    import pyarrow

    return pyarrow.Table.from_pylist(rows, schema=schema)


def _row(item: Item, columns: dict[str, Any], split: Split) -> dict[str, Any]:
    match item:
        case Document():
            row: dict[str, Any] = {"text": item.text}
        case Example():
            labels = {"label": item.label, "voice": item.voice or None}
            row = {item.media.modality: _content(item.media), "text": item.text, **labels}
        case Conversation():
            row = {"messages": [{"role": one.role, "content": one.text} for one in item.messages]}
            for name in columns.keys() - {"messages", "key", "split"}:
                row[name] = []
            for media in _media(item):
                row.setdefault(media.modality, []).append(_content(media))
        case _:
            row = {type(item).__name__: ""}  # another kind than the first item
    if other := sorted(row.keys() - columns.keys()):
        what = f"{item.key[:60]!r} has {other[0]}, which the first {ROWS} items do not have"
        raise RequestError(what, "export without --parquet, or from a source whose items are alike")
    return {**row, "key": item.key, "split": split}


def _media(item: Item) -> Iterator[Media]:
    if isinstance(item, Conversation):
        for message in item.messages:
            yield from message.media


def _content(media: Media) -> dict[str, Any]:
    with media.open() as file:
        return {"bytes": file.read(), "path": media.name.rpartition("/")[2]}
