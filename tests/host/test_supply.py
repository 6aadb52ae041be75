"""The pinned packages of a checkout, and the audit of them."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).resolve().parents[2]
PINNED = re.compile(r"^([A-Za-z0-9._-]+)==([^ ;\\]+)(?: ;[^\\]*)? \\$")


def lines() -> list[str]:
    return (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()


def pins() -> dict[str, set[str]]:
    """Package -> its versions: one for each group of systems."""
    found: dict[str, set[str]] = {}
    for line in lines():
        if match := PINNED.match(line):
            found.setdefault(canonicalize_name(match[1]), set()).add(match[2])
    return found


def requirements() -> list[Requirement]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    named = [*project["dependencies"], *(one for extra in project["optional-dependencies"].values() for one in extra)]
    return [Requirement(one) for one in named]


@pytest.mark.parametrize("requirement", requirements(), ids=lambda requirement: str(requirement.name))
def test_every_requirement_is_pinned_within_its_range(requirement: Requirement) -> None:
    versions = pins()[canonicalize_name(requirement.name)]
    assert all(Version(version) in requirement.specifier for version in versions)


def test_every_pin_has_hashes_and_no_line_names_an_index() -> None:
    text = lines()
    for number, line in enumerate(text):
        assert "://" not in line
        assert "index" not in line.split("#")[0]
        if line and not line.startswith((" ", "#")):
            assert PINNED.match(line), line
            assert re.fullmatch(r"    --hash=sha256:[0-9a-f]{64}( \\)?", text[number + 1]), line


@pytest.mark.parametrize(
    ("answer", "code", "says"),
    [
        ([{"name": "a", "version": "1", "vulns": []}], 0, "1 of 1 packages audited, 0 known"),
        ([{"name": "a", "version": "1", "vulns": [{"id": "CVE-1", "fix_versions": ["2"]}]}], 1, "CVE-1, fixed in 2"),
        ([{"name": "a", "skip_reason": "not found"}], 0, "skipped"),
        (None, 0, "skipped"),
    ],
)
def test_an_audit_fails_on_known_vulnerabilities_alone(
    answer: list[object] | None, code: int, says: str, tmp_path: Path
) -> None:
    """With a stand-in for pip-audit that answers what the service would, or nothing."""
    printed = "" if answer is None else json.dumps({"dependencies": answer})
    (tmp_path / "pip_audit.py").write_text(f"import sys; print({printed!r}); print('no network', file=sys.stderr)")
    done = subprocess.run(
        [sys.executable, ROOT / ".ci" / "audit.py"],
        env={"PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == code
    assert says in done.stdout
