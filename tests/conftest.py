"""Options of the test command."""


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
