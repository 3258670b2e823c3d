"""Options of the test command."""


def pytest_addoption(parser):
    parser.addoption(
        "--kills", type=int, default=4, help="how often test_resume kills a run at a random time"
    )
