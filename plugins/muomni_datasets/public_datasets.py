"""Public datasets that recipes name as ``set:NAME``; those to download are listed in ``public_datasets.toml``."""

from __future__ import annotations

import tomllib
from pathlib import Path

from muomni_cli.api import Download, RemoteFile

HERE = Path(__file__).parent


def downloads() -> list[Download]:
    """All public datasets."""
    found = [
        Download(
            name="stories",
            doc="eleven story books and 126 fables, 5.6 MB of English text; included in muomni",
            license="public domain in the United States",
            license_url="texts/SOURCES.md of the package muomni_datasets",
            paths=("text/stories_pd.txt",),
            shipped=HERE / "texts" / "stories.txt.gz",
        ),
        Download(
            name="sentences",
            doc="49,253 sentences to read aloud, one a line, 36,508 of them of 3 to 9 words; included in muomni",
            license="CC0",
            license_url="https://creativecommons.org/publicdomain/zero/1.0/",
            paths=("text/sentences_cc0.txt",),
            shipped=HERE / "texts" / "sentences.txt.gz",
        ),
    ]
    for table in tomllib.loads((HERE / "public_datasets.toml").read_text("utf-8"))["datasets"]:
        table["files"] = tuple(RemoteFile(**file) for file in table["files"])
        table["paths"], table["system"] = tuple(table["paths"]), tuple(table.get("system", ()))
        found.append(Download(**table))
    return found
