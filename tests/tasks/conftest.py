"""Fixtures of the tasks' tests: the tiny trained models of ``tests/golden/fill_mask``."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from robertakit.tasks import FillMaskPipeline, pipeline


@pytest.fixture(scope="session", params=["roberta", "xlm-roberta"])
def family(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="session")
def folder_of(golden: Path) -> Callable[[str], Path]:
    return lambda family: golden / "fill_mask" / family


@pytest.fixture(scope="session")
def fill_of(folder_of: Callable[[str], Path]) -> Iterator[Callable[[str], FillMaskPipeline]]:
    """Return a family's fill-mask, made once."""
    made: dict[str, FillMaskPipeline] = {}

    def get(family: str) -> FillMaskPipeline:
        if family not in made:
            made[family] = pipeline("fill-mask", folder_of(family))
        return made[family]

    yield get
    for fill in made.values():
        fill.close()


@pytest.fixture(scope="session")
def fill(fill_of: Callable[[str], FillMaskPipeline]) -> FillMaskPipeline:
    """Fill-mask of the tiny RoBERTa."""
    return fill_of("roberta")
