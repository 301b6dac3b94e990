"""The program `paper_figures.py` from its command line."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from report.artefacts.catalogue import ARTEFACTS, TITLES
from report.artefacts.comparison.views import VIEWS
from scripts.paper_figures import main
from tests.scripts.conftest import ROOT, ran


def test_it_prints_and_writes_every_artefact(tree: Any, capsys: Any) -> None:
    tree.measured(tree.rows([75.0, 77.0, 79.0]))
    assert main(["--results", str(tree.path), "--all"]) == 0
    printed = capsys.readouterr().out
    assert "77.0 (2.0)" in printed and "75.2 (1.5)" in printed
    assert "python run.py experiment=table8 protocol=reference scale=paper" in printed
    names = (
        *("which_method", "methods"),
        *(f"{kind}_{name}" for name in VIEWS for kind in ("methods", "pareto")),
        *("table2", "table8", "table9", "table10", "table11", "table12", "figure10"),
        *("scan_variants", "scan_groups", "scan_lengths", "scan_rates"),
        *("figure2", "figure2_training", "dqn_scores"),
        *("figure5b", "figure11b", "cnn_zero_shot", "cnn_studies"),
        *("figure4", "figure7", "figure8", "figure5a", "figure11a", "figure12"),
        *("clip_zero_shot", "clip_classes", "table1"),
        *("figure3", "figure9", "figure3_shares", "figure9_shares"),
        *("table3", "table4", "table5", "table6", "table7"),
        *("fairness_regard", "fairness_gaps", "fairness_lambda", "fairness_scorers"),
    )
    figures = tree.path / "figures"
    assert {path.name for path in figures.iterdir()} == {
        f"{name}.{ending}" for name in names for ending in ("csv", "md", "tex")
    }
    for ending in ("csv", "md", "tex"):
        assert "77.0 (2.0)" in (figures / f"table2.{ending}").read_text(encoding="utf-8")
        assert "77.0 (2.0)" not in (figures / f"table8.{ending}").read_text(encoding="utf-8")


def test_names_scale_spread_and_out_are_obeyed(tree: Any, tmp_path: Path, capsys: Any) -> None:
    tree.run("a", tree.rows([70.0, 75.0, 80.0], scale="demo"))
    tree.run("b", [], status="failed")
    arguments = ["--results", str(tree.path), "--out", str(tmp_path / "out"), "table2"]
    assert main([*arguments, "--scale", "demo", "--spread", "reference"]) == 0
    printed = capsys.readouterr().out
    assert "75.0 (4.5)" in printed
    assert "Skipped runs: 1 failed" in printed
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        *("table2.csv", "table2.md", "table2.tex")
    }
    assert not (tree.path / "figures").exists()


def test_refused_rows_give_one_line_and_status_2_and_no_files(tree: Any, capsys: Any) -> None:
    path = tree.measured([tree.row("nan")])
    assert main(["--results", str(tree.path)]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err == (
        f"paper_figures.py: {path}:2: value 'nan' is not finite; NaN and infinity are refused\n"
    )
    assert not (tree.path / "figures").exists()


def test_without_names_it_prints_a_line_for_each(tree: Any, capsys: Any) -> None:
    tree.measured(tree.rows([75.0, 77.0, 79.0]))
    tree.run("trial", tree.rows([70.0], variant="max_commands=50", model="GRU"))
    assert main(["--results", str(tree.path)]) == 0
    printed = capsys.readouterr().out
    lines = {line.split()[0]: line.split()[1:] for line in printed.splitlines()}
    # Of four methods in two protocols one has rows, in one protocol and of one data set.
    assert lines["table2"][:2] == ["Table", "2:"] and lines["table2"][-2:] == ["0", "8"]
    assert lines["which_method"] and lines["figure8"] and "77.0" not in printed
    assert "table8: left out, as they depart from the protocol: max_commands=50 (1 row)" in printed
    assert f"Written to {tree.path / 'figures'}" in printed
    names = {path.stem for path in (tree.path / "figures").iterdir()}
    assert names < set(lines)


def test_names_are_listed_without_any_rows(capsys: Any) -> None:
    assert main(["--list", "--results", "nowhere"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[::2] == list(TITLES.values())
    assert " ".join(lines[1::2]).split() == list(ARTEFACTS)


def test_the_results_page_says_what_each_shows() -> None:
    text = (ROOT / "results" / "README.md").read_text(encoding="utf-8")
    assert not [name for name in ARTEFACTS if f"`{name}`" not in text]


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["table13"], "artefact=table13 is not known (did you mean table3?); python "),
        (["figure8a", "table2"], "artefact=figure8a is not known (did you mean figure8?); python "),
        (["--scale", "dem"], "--scale=dem is not known (did you mean demo?); choose from: paper, "),
    ],
)
def test_a_mistake_is_one_line(capsys: Any, words: list[str], line: str) -> None:
    with pytest.raises(SystemExit) as caught:
        main(words)
    printed = capsys.readouterr()
    assert caught.value.code == 2 and printed.out == ""
    assert printed.err.startswith(f"paper_figures.py: {line}") and printed.err.count("\n") == 1


def test_it_runs_as_a_file_from_another_folder(tree: Any, tmp_path: Path) -> None:
    program = ROOT / "scripts" / "paper_figures.py"
    options = ["--results", str(tree.path), "table9"]
    environment = {key: text for key, text in os.environ.items() if key != "PYTHONPATH"}
    done = ran(program, *options, cwd=tmp_path, env=environment)
    assert "zero-shot accuracy of the RNN on SCAN" in done.stdout
    assert (tree.path / "figures" / "table9.tex").is_file()


@pytest.mark.parametrize("drawn", [False, True])
def test_it_imports_no_framework_and_matplotlib_only_to_draw(tree: Any, drawn: bool) -> None:
    tree.run("a", [tree.row(50.0, step=200 if drawn else "")])
    heavy = (
        "{'torch', 'hydra', 'omegaconf', 'matplotlib', 'scipy', 'equitune', "
        "'experiments.scan', 'experiments.dqn'}"
    )
    code = (
        "import sys; from scripts.paper_figures import main; "
        f"assert main(['--results', {str(tree.path)!r}]) == 0; "
        f"print(*sorted({heavy} & set(sys.modules)), file=sys.stderr)"
    )
    assert ran("-c", code).stderr.strip() == ("matplotlib" if drawn else "")
