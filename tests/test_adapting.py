"""Which examples are short enough, and whose files a folder holds."""

import pytest

from tinygrad_llm.errors import InputError
from tinygrad_llm.recipes.adapting import is_kept, short_enough
from tinygrad_llm.recipes.reporter import Reporter
from tinygrad_llm.training import checkpoint


def test_long_examples_are_left_out_with_a_line():
    notes, reporter = [], Reporter()
    reporter.note = notes.append
    assert short_enough(["a", "b", "c"], [3, 9, 4], 4, reporter) == ["a", "c"]
    assert notes == ["1 examples of more than 4 tokens are left out (max_length)"]
    with pytest.raises(InputError, match="no example has at most 2 tokens; raise max_length"):
        short_enough(["a"], [3], 2, reporter)


def test_a_file_is_the_runs_once_there_is_a_checkpoint(tmp_path):
    path = tmp_path / "before.json"
    assert not is_kept(path)
    path.write_text("{}")
    assert not is_kept(path)
    (tmp_path / checkpoint.FILE).touch()
    assert is_kept(path)
