"""``muomni data get``: public datasets by name."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from muomni_cli.core.console import print_json, print_table, say, talk
from muomni_cli.core.errors import RequestError

if TYPE_CHECKING:
    from rich.progress import Progress

    from muomni_cli.data.get import SetState


def get(
    names: Annotated[list[str] | None, typer.Argument(metavar="[NAME]...", help="Public datasets, see --list.")] = None,
    listed: Annotated[bool, typer.Option("--list", help="List all public datasets, and which are here.")] = False,
    unverified: Annotated[
        bool, typer.Option("--unverified", help="Accept files that nobody has published a checksum of.")
    ] = False,
    keep: Annotated[bool, typer.Option("--keep", help="Keep the downloaded archives after conversion.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Download public datasets into $MUOMNI_DATA or the platform's data folder, verify them and convert them.

    Recipes name their files as set:NAME. An interrupted download continues where it stopped.
    """
    from muomni_cli.data.get import get_sets, states

    if listed:
        if names:
            raise RequestError("--list takes no names", "muomni data get --list, or muomni data get NAME")
        _list(states(), json=json)
        return
    if not names:
        raise RequestError("no dataset is named", "see which there are: muomni data get --list")
    with _bars() as bars:
        try:
            found = get_sets(names, _Watcher(bars), unverified=unverified, keep=keep)
        except KeyboardInterrupt:
            bars.stop()
            _say_kept(names)
            raise
    for state in found:
        say(f"{state.use} is here")
    if json:
        print_json([state.as_json() for state in found])
    else:
        for state in found:
            print(*state.files, sep="\n")


def _list(states: list[SetState], *, json: bool) -> None:
    from muomni_cli.registry.sets import size_text

    if json:
        print_json([state.as_json() for state in states])
        return
    rows = [
        (
            state.use,
            size_text(state.download.size),
            state.here,
            state.download.licence,
            state.download.doc + ("" if state.download.verified else " (unverified: no published checksum)"),
        )
        for state in states
    ]
    print_table(("NAME", "SIZE", "HERE", "LICENCE", "WHAT"), rows)


def _say_kept(names: list[str]) -> None:
    from muomni_cli.data.get import kept_lines

    lines = kept_lines(names)
    say(f"stopped: {'; '.join(lines) or 'nothing was downloaded yet'}")
    if lines:
        say(f"continue with: muomni data get {' '.join(names)}")


class _Watcher:
    """Shows licences, then progress: bars on a terminal, a line for each file elsewhere."""

    def __init__(self, bars: Progress) -> None:
        self._bars = bars

    def begin(self, state: SetState) -> None:
        from muomni_cli.core.paths import data_folder
        from muomni_cli.registry.sets import size_text

        download = state.download
        say(f"{state.use}: {download.doc}")
        say(f"  licence: {download.licence} ({download.licence_url})")
        say(f"  {size_text(download.size)} to download, into {data_folder()}")

    def task(self, words: str, total: int) -> Callable[[int], None]:
        if not self._bars.console.is_terminal:
            say(f"  {words}")
        task = self._bars.add_task(words, total=total)
        return lambda done: self._bars.update(task, completed=done)


@contextmanager
def _bars() -> Iterator[Progress]:
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

    columns = TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn()
    console = talk()
    with Progress(*columns, TimeRemainingColumn(), console=console, disable=not console.is_terminal) as bars:
        yield bars
