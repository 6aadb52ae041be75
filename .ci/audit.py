"""Known vulnerabilities of the pinned packages: `make audit`. Exit code 1 if there are any.

Without a connection to the advisory service nothing can be said: then it says so, and exits 0.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
AUDIT = ("pip_audit", "--requirement", "constraints.txt", "--require-hashes", "--disable-pip", "--format", "json")


def main() -> int:
    """Print what pip-audit finds; returns the exit code."""
    done = subprocess.run(
        [sys.executable, "-m", *AUDIT, "--progress-spinner", "off"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    try:
        packages = json.loads(done.stdout)["dependencies"]
    except (ValueError, KeyError):
        print(f"skipped: no answer of the advisory service ({done.stderr.strip().splitlines()[-1][:200]})")
        return 0
    known = [package for package in packages if "skip_reason" not in package]
    if not known:
        print(f"skipped: the advisory service knows none of the {len(packages)} packages; is it a mirror?")
        return 0
    found = [(package, flaw) for package in known for flaw in package["vulns"]]
    for package, flaw in found:
        fixed = ", ".join(flaw["fix_versions"]) or "no version yet"
        print(f"{package['name']} {package['version']}: {flaw['id']}, fixed in {fixed}")
    print(f"{len(known)} of {len(packages)} packages audited, {len(found)} known vulnerabilities")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
