"""MkDocs hooks: pages from the root of the repository, and links that leave docs/ and those pages become plain text.

The same Markdown is read on GitHub, where such links work, and on the site, which holds docs/ alone. A link to a file
that does not exist in the repository is reported, so a strict build fails.
"""

from __future__ import annotations

import logging
import posixpath
import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File

ROOT = Path(__file__).resolve().parents[1]
FROM_ROOT = {"tour.md": "README.md", "contributing.md": "CONTRIBUTING.md", "changes.md": "CHANGELOG.md"}
"""Page of the site -> file in the root of the repository, where GitHub looks for it."""
LINK = re.compile(r"\[([^\]\[]*)\]\((?!https?:|mailto:|#)([^)#\s]+)(#[^)\s]*)?\)")
NOTE = re.compile(r"^(```\w+) \w+$", re.MULTILINE)
DIAGRAM = re.compile(r"^```mermaid\n.*?^```\n", re.MULTILINE | re.DOTALL)

log = logging.getLogger("mkdocs.hooks.site")


def on_files(files: Any, config: Any) -> Any:
    """Add the pages from the root."""
    for page, name in FROM_ROOT.items():
        files.append(File.generated(config, page, content=(ROOT / name).read_text(encoding="utf-8")))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Adapt links and code fences, and leave out diagrams.

    A word after the language of a fence is a note for the tests. The library that draws diagrams would be loaded from
    the network.

    Args:
        markdown: text of the page.
        page: the page.
    """
    source = page.file.src_uri
    folder = "" if source in FROM_ROOT else posixpath.join("docs", posixpath.dirname(source))
    here = posixpath.dirname(source)
    pages = {name: page for page, name in FROM_ROOT.items()}

    def adapted(match: re.Match[str]) -> str:
        text, target, anchor = match[1], match[2], match[3] or ""
        path = posixpath.normpath(posixpath.join(folder, target))
        if not (ROOT / path).exists():
            log.warning("%s links to %s, which does not exist", source, path)
        if path.startswith("docs/") or path in pages:
            place = pages.get(path, path.removeprefix("docs/"))
            return f"[{text}]({posixpath.relpath(place, here or '.')}{anchor})"
        return text

    return LINK.sub(adapted, NOTE.sub(r"\1", DIAGRAM.sub("", markdown)))
