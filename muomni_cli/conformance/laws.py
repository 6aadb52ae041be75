"""Which laws there are for which kind: the host's own, and those that plugins add."""

from __future__ import annotations

import functools

from muomni_cli.contract.conformance import Law
from muomni_cli.core.console import say
from muomni_cli.core.errors import MuomniError
from muomni_cli.registry.loading import describe
from muomni_cli.registry.registry import get_registry, resolve

HOMES: dict[str, tuple[str, ...]] = {
    "thinker": ("modules", "thinkers"),
    "encoder": ("modules", "reading", "encoders"),
    "codec": ("modules", "reading", "codecs"),
    "vocoder": ("modules", "vocoders"),
    "talker": ("modules", "talkers"),
    "tokenizer": ("tokenizers",),
    "dataset": ("datasets",),
    "callback": ("callbacks",),
    "runtime": ("runtimes",),
    "model": ("models",),
}
"""Kind -> the files here whose ``LAWS`` are for it, after those of ``common``, which are for all."""


def laws_of(kind: str) -> list[Law]:
    """All laws for parts of this kind, in the order in which they are best tried.

    Raises:
        MuomniError: PyTorch is needed for them and not installed, or two laws have one name.
    """
    found = [
        law
        for home in ("common", *HOMES.get(kind, ()))
        for law in resolve(f"{__package__}.{home}:LAWS", f"checking a {kind}")
        if not law.kinds or kind in law.kinds
    ]
    known = {law.name for law in found}
    for law in added_laws():
        if law.kinds and kind not in law.kinds:
            continue
        if law.name in known:
            raise MuomniError(
                f"there are two laws called {law.name} for parts of the kind {kind}", "rename one of them"
            )
        known.add(law.name)
        found.append(law)
    return found


@functools.cache
def added_laws() -> list[Law]:
    """Those that plugins add. One that cannot be had costs one line and nothing else."""
    laws = []
    for offer in get_registry().checks():
        try:
            law = resolve(offer.part.law, f"check {offer.part.name}")
        except Exception as error:
            say(f"warning: check {offer.part.name} of plugin {offer.plugin.name} is left out: {describe(error)}")
            continue
        if isinstance(law, Law):
            laws.append(law)
        else:
            say(f"warning: check {offer.part.name} of plugin {offer.plugin.name} is left out: it is no Law")
    return laws
