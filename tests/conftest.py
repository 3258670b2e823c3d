"""Options of the test command, and what several files of tests need."""

import pytest

from tinygrad_llm.errors import InputError
from tinygrad_llm.recipes.import_ import find_weights


@pytest.fixture(scope="session")
def minilm():
    """The folder of MiniLM's weights, which come in a package."""
    try:
        return find_weights("minilm")
    except InputError as error:
        pytest.skip(str(error))


def pytest_addoption(parser):
    parser.addoption(
        "--kills", type=int, default=4, help="how often test_resume kills a run at a random time"
    )
    parser.addoption(
        "--mutations", type=int, default=100, help="how many damaged files of each kind are opened"
    )
    parser.addoption(
        "--references",
        action="store_true",
        help="compare SmolLM2 with transformers, which takes minutes",
    )
