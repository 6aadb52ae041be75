"""The laws that parts of this kind must keep, one test each."""

import pytest

from muomni_cli.testing import Case, cases


@pytest.mark.parametrize("case", cases("newpart"), ids=str)
def test_law(case: Case) -> None:
    """What it declares holds."""
    case.check()
