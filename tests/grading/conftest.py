"""One grader for all grading tests: its workers start once."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from openr1.grading import Grader


@pytest.fixture(scope="session")
def grader() -> Iterator[Grader]:
    pytest.importorskip("math_verify")
    with Grader(workers=2, cache=False) as shared:
        yield shared
