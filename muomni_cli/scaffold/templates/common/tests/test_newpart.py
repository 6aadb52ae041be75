"""The checks that parts of this kind must keep, one test each."""

import pytest

from muomni_cli.testing import CheckCase, cases


@pytest.mark.parametrize("case", cases("newpart"), ids=str)
def test_law(case: CheckCase) -> None:
    """What it declares holds."""
    case.run()
