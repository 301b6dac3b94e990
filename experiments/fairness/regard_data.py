"""Files of sentences with labels of regard."""

from __future__ import annotations

from pathlib import Path

from experiments.frame.errors import UserError
from experiments.frame.files import text_lines
from experiments.frame.rows import LABELS

SPLITS = ("train", "dev", "test")
_WRITTEN = {"1": "positive", "0": "neutral", "2": "other", "-1": "negative"}


def labelled_lines(path: Path) -> list[tuple[int, str]]:
    """Read a file of ``label TAB text`` lines, labels -1, 0, 1 and 2.

    Returns:
        The number in `LABELS` and the text of every sentence, at least one.

    Raises:
        UserError: If the file is missing or empty, or a line is of another form.
    """
    if not path.is_file():
        raise UserError(
            f"{path}: no such file; task.regard_data= is a folder with train.tsv, dev.tsv and "
            "test.tsv"
        )
    found = []
    for number, line in enumerate(text_lines(path), start=1):
        label, tab, text = line.partition("\t")
        if not tab or label not in _WRITTEN or not text.strip():
            raise UserError(
                f"{path}, line {number}: begins with {label[:20]!r}; each line needs a label "
                f"({', '.join(_WRITTEN)}), a TAB and a text"
            )
        found.append((LABELS.index(_WRITTEN[label]), text))
    if not found:
        raise UserError(f"{path}: has no sentence")
    return found
