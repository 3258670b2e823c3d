"""The pictures of a run: numbers where they can be read, and texts as they are."""

import numpy as np
import pytest

from tinygrad_llm.recipes import plots
from tinygrad_llm.recipes.reporter import Reporter


def test_a_matrix_of_many_labels_has_colours_alone(tmp_path, monkeypatch):
    axes = pytest.importorskip("matplotlib.axes", reason="pip install matplotlib")
    drawn, text = [], axes.Axes.text
    monkeypatch.setattr(
        axes.Axes, "text", lambda *args, **options: drawn.append(args[3]) or text(*args, **options)
    )
    monkeypatch.setattr(plots, "MOST_NUMBERED", 2)
    for labels, numbers in (("$a", "b$"), ["1,000", "0", "0", "7"]), ("abc", []):
        drawn.clear()
        counts = np.diag([1000, 7, 1][: len(labels)])
        plots.draw_confusion(tmp_path, labels, counts, Reporter())
        assert drawn == numbers and (tmp_path / plots.CONFUSION).stat().st_size > 1000
