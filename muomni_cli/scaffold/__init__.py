"""Create a plugin package from a template: a working package whose placeholder names are replaced."""

from __future__ import annotations

import importlib.util
import keyword
import re
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from muomni_cli.core.errors import MuomniError, RequestError
from muomni_cli.registry.registry import Registry, did_you_mean

KINDS = (
    *("encoder", "thinker", "talker", "codec", "vocoder", "tokenizer"),
    *("dataset", "callback", "command", "model"),
)

TEMPLATES = Path(__file__).resolve().parent / "templates"
COMMON = "common"  # template folder of files that every package has
RENAMED = {"gitignore": ".gitignore"}  # files whose real names would have an effect inside of the templates folder


@dataclass(frozen=True, slots=True)
class Names:
    """The name of a new plugin, and the names of its package and classes."""

    name: str

    @property
    def package(self) -> str:
        return f"muomni_{self.name.replace('-', '_')}"

    def exchange(self, text: str) -> str:
        """Replace the placeholder names in a template's text or path."""
        camel = "".join(word.capitalize() for word in self.name.split("-"))
        for neutral, own in (("muomni_newpart", self.package), ("Newpart", camel), ("newpart", self.name)):
            text = text.replace(neutral, own)
        return text


def write(name: str, kind: str, into: Path, registry: Registry) -> Path:
    """Create a plugin's package in a new folder of ``into``, atomically; returns the folder.

    Raises:
        RequestError: unknown kind, invalid or taken name, or the folder exists.
        MuomniError: it cannot be written.
    """
    names = _checked(name, kind, registry)
    folder = into / f"muomni-{name}"
    if folder.exists():
        raise RequestError(f"{folder} is there already", "choose another name, or another folder with -o")
    try:
        into.mkdir(parents=True, exist_ok=True)
        partial = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=into))
    except OSError as error:
        raise _unwritten(into, error) from error
    try:
        for template in (COMMON, kind):
            _copy(TEMPLATES / template, partial, names)
        partial.chmod(0o755)
        partial.rename(folder)
    except OSError as error:
        raise _unwritten(folder, error) from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return folder


def _checked(name: str, kind: str, registry: Registry) -> Names:
    if kind not in KINDS:
        raise RequestError(f"there is no kind {kind!r}", did_you_mean(kind, KINDS, f"one of: {', '.join(KINDS)}"))
    if not re.fullmatch(r"[a-z][a-z0-9]*(-[a-z0-9]+)*", name) or keyword.iskeyword(name):
        raise RequestError(f"a plugin cannot be called {name!r}", "use lower case letters, digits and hyphens: my-part")
    names = Names(name)
    parts = [registered.part.name for registered in registry.all(kind)]
    if name in parts or name in {plugin.info.name for plugin in registry.plugins}:
        raise RequestError(f"the name {name!r} is taken, by a plugin or another {kind}", "choose another name")
    if importlib.util.find_spec(names.package) is not None:
        raise RequestError(f"there is a package {names.package} already", "choose another name")
    return names


def _copy(template: Path, folder: Path, names: Names) -> None:
    for source in sorted(template.rglob("*")):
        inside = source.relative_to(template)
        if source.is_dir() or "__pycache__" in inside.parts:
            continue
        target = folder / names.exchange(str(inside.with_name(RENAMED.get(inside.name, inside.name))))
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(names.exchange(source.read_text(encoding="utf-8")), encoding="utf-8")


def _unwritten(path: Path, error: OSError) -> MuomniError:
    return MuomniError(
        f"{path} cannot be written: {error.strerror or error}", "check its permissions, or name another folder with -o"
    )
