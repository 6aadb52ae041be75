"""The conformance checks of this package's parts, one test each."""

import pytest

from muomni_cli.testing import CheckCase, cases


@pytest.mark.parametrize("case", cases("newpart"), ids=str)
def test_law(case: CheckCase) -> None:
    case.run()
