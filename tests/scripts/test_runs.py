"""The browser of runs: what is there, by the records alone, and what a preset lacks."""

from __future__ import annotations

import json
import re
import resource
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

from experiments.frame import load as loading
from experiments.frame.files import sha256
from experiments.frame.runner import LOCK
from scripts.runs import main
from tests.scripts.conftest import ROOT, ran

#: A small preset: two jobs.
SMALL = ("table2", "scale=demo", "method=pretrained", "protocol=paper", "seed=0")
UNKNOWN = "no estimate of their CPU time: no earlier run is like them"


def write(results: Path, name: str, task: str = "scan", **changes: Any) -> Path:
    """A run folder with a synthetic record of a finished run, with changes."""
    folder = results / "runs" / task / name
    folder.mkdir(parents=True)
    (folder / "metrics.csv").write_text("task\n")
    record = {
        **{"status": "done", "stage": "evaluate", "name": name, "seed": 3, "attempts": 2},
        **{"wall_seconds": 12.34, "commit": "0123456789abcdef"},
        **{"metrics_sha256": sha256(folder / "metrics.csv")},
    }
    (folder / "record.json").write_text(json.dumps(record | changes))
    return folder


def listed(results: Path, capsys: Any, *options: str) -> list[str]:
    """The lines of a list."""
    assert main(["list", "--results", str(results), *options]) == 0
    return str(capsys.readouterr().out).splitlines()


def missing(results: Path, capsys: Any, *words: str) -> list[str]:
    """The lines on what the small preset lacks."""
    assert main(["missing", *SMALL, f"results={results}", *words]) == 0
    return str(capsys.readouterr().out).splitlines()


def test_a_preset_of_ones_own_is_found_by_config_dir(tmp_path: Path, capsys: Any) -> None:
    mine = tmp_path / "of my own" / "experiment"
    mine.mkdir(parents=True)
    preset = (ROOT / "conf" / "experiment" / "table2.yaml").read_text()
    (mine / "mine.yaml").write_text(preset.replace("seed: 0,1,2", "seed: 5,6"))
    config_dir, results = ("--config-dir", str(mine.parent)), f"results={tmp_path / 'results'}"
    words = ("scale=demo", "method=pretrained", "protocol=paper", "dataset=add_jump", results)
    for order in (("mine", *words, *config_dir), ("mine", *config_dir, *words)):
        assert main(["missing", *order]) == 0
        *jobs, total, _, command = capsys.readouterr().out.splitlines()
        assert [job.split()[:2] for job in jobs] == [["planned", "seed=5"], ["planned", "seed=6"]]
        assert total == "2 jobs: 2 planned"
        assert shlex.split(command) == ["python", "run.py", *config_dir, "experiment=mine", *words]
    assert main(["missing", "mine", *words, "--config-dir", str(tmp_path / "nowhere")]) == 2
    assert (
        capsys.readouterr().err == f"runs.py: --config-dir {tmp_path / 'nowhere'}: no such folder\n"
    )
    with pytest.raises(SystemExit):
        main(["list", "a-word"])


def test_a_thousand_runs_are_listed_in_two_seconds(tmp_path: Path) -> None:
    padding = {"identity": {str(number): "x" * 50 for number in range(80)}}
    for number in range(1000):
        write(tmp_path, f"evaluate-{number:04}", **padding)
    start = resource.getrusage(resource.RUSAGE_CHILDREN)
    lines = ran("scripts/runs.py", "list", "--results", tmp_path).stdout.splitlines()
    end = resource.getrusage(resource.RUSAGE_CHILDREN)
    # Of the processor's time, which other jobs of a machine do not change.
    assert end.ru_utime + end.ru_stime - start.ru_utime - start.ru_stime < 2
    assert len(lines) == 1002 and lines[-1] == "1000 runs: 1000 done"
    cells = ["done", "evaluate", "3", "12.3", "2", "0123456", "scan/evaluate-0000"]
    assert lines[1].split() == cells


def test_neither_command_loads_torch_or_pandas() -> None:
    code = (
        "import sys; import scripts.runs, report.runs.jobs; "
        "sys.exit(bool({'torch', 'pandas', 'rich'} & set(sys.modules)))"
    )
    ran("-c", code)


def test_a_failed_run_shows_its_reason_in_one_line(tmp_path: Path, capsys: Any) -> None:
    write(tmp_path, "evaluate-a")
    write(tmp_path, "evaluate-b", status="failed", error="ValueError: lost\nmore")
    lines = listed(tmp_path, capsys)
    assert lines[2].startswith("failed") and lines[3].strip() == "ValueError: lost"
    assert lines[-1] == "2 runs: 1 done, 1 failed"


def test_tasks_and_states_are_chosen(tmp_path: Path, capsys: Any) -> None:
    write(tmp_path, "evaluate-a")
    write(tmp_path, "evaluate-b", task="cnn", status="interrupted")
    assert listed(tmp_path, capsys, "--task", "cnn")[-1] == "1 runs: 1 interrupted"
    assert listed(tmp_path, capsys, "--status", "done")[-1] == "1 runs: 1 done"
    assert listed(tmp_path, capsys, "--task", "dqn")[-1] == "0 runs"


@pytest.mark.parametrize("text", ["{", "[]", '{"status": 7}', ""])
def test_an_unreadable_record_is_named(tmp_path: Path, capsys: Any, text: str) -> None:
    folder = write(tmp_path, "evaluate-a")
    (folder / "record.json").write_text(text)
    lines = listed(tmp_path, capsys)
    assert lines[1].split() == ["unreadable", "scan/evaluate-a"]


def test_a_run_whose_owner_is_gone_is_told_apart(tmp_path: Path, capsys: Any) -> None:
    folder = write(tmp_path, "evaluate-a", status="running")
    assert listed(tmp_path, capsys)[-1] == "1 runs: 1 abandoned"
    with FileLock(folder / LOCK):
        assert listed(tmp_path, capsys)[-1] == "1 runs: 1 running"
    assert listed(tmp_path, capsys)[-1] == "1 runs: 1 abandoned"
    (tmp_path / "runs" / "scan" / "evaluate-b").mkdir()
    assert listed(tmp_path, capsys)[-1] == "2 runs: 1 abandoned, 1 empty"
    assert not (tmp_path / "runs" / "scan" / "evaluate-b" / LOCK).exists()


def test_no_results_folder_is_one_line(tmp_path: Path, capsys: Any) -> None:
    assert main(["list", "--results", str(tmp_path / "none")]) == 2
    printed = capsys.readouterr()
    assert printed.out == "" and printed.err == f"runs.py: {tmp_path / 'none'}: no such folder\n"


def test_what_a_preset_lacks(tmp_path: Path, capsys: Any) -> None:
    before = missing(tmp_path, capsys)
    assert before[0].split()[:2] == ["planned", "dataset=add_jump"]
    assert before[1].split()[:2] == ["planned", "dataset=around_right"]
    command = f"python run.py experiment={' '.join(SMALL)} results={tmp_path}"
    assert before[2:] == ["2 jobs: 2 planned", UNKNOWN, command]
    assert not (tmp_path / "runs").exists()
    first, second = (line.split()[-1] for line in before[:2])

    folder = write(tmp_path, first)
    assert missing(tmp_path, capsys)[2:] == ["2 jobs: 1 done, 1 planned", UNKNOWN, command]
    write(tmp_path, second, status="failed", error="ValueError: lost")
    lines = missing(tmp_path, capsys)
    assert lines[1].startswith("failed ") and lines[2].strip() == "ValueError: lost"
    (folder / "metrics.csv").write_text("other\n")
    assert missing(tmp_path, capsys)[0].startswith("damaged ")

    kept = tmp_path / "measured" / "scan"
    kept.mkdir(parents=True)
    (kept / "own.json").write_text(json.dumps({second: {"status": "done"}}))
    lines = missing(tmp_path, capsys)
    assert lines[1].startswith("done (committed)")
    assert lines[2:] == [
        "2 jobs: 1 damaged, 1 done (committed)",
        UNKNOWN,
        "the command also does the 1 committed jobs again:",
        command,
    ]
    (kept / "other.json").write_text(json.dumps({first: {"status": "done"}}))
    lines = missing(tmp_path, capsys)
    assert lines[2:] == ["2 jobs: 2 done (committed)", "nothing is missing"]


def test_rows_that_are_committed_and_the_time_that_runs_like_them_took(
    tree: Any, capsys: Any
) -> None:
    columns = {"method": "pretrained", "group": "trivial", "protocol": "paper", "scale": "demo"}
    splits = ("validation", "test")
    rows = [tree.row(1.0, split=split, seed=seed, **columns) for seed in (0, 1) for split in splits]
    path = tree.measured(rows)
    records = json.loads(path.with_suffix(".json").read_text())
    for name in [*records]:
        records[name] |= {"name": name, "stage": "evaluate", "cpu_seconds": 60.0}
        records[name] |= {"processor": "Chip", "built_on": {"pretrain": "base"}}
    records["base"] = {"status": "done", "stage": "pretrain", "cpu_seconds": 240.0}
    path.with_suffix(".json").write_text(json.dumps(records))
    lines = missing(tree.path, capsys, "dataset=add_jump")
    there = "all these jobs have rows in results/measured"
    assert re.fullmatch(rf"{there}, but [0-9]+ rows of table2 lack numbers:", lines[0])
    assert lines[1].startswith("    scale=demo, protocol=")
    first = next(place for place, line in enumerate(lines) if line.startswith("planned"))
    assert lines[first - 1].startswith("    python run.py experiment=table2 ")
    # A preset of one's own may name no table.
    own = missing(tree.path, capsys, "dataset=add_jump", "artefact=null")
    lines = [there, *lines[first:]]
    assert own == [*lines[:-1], own[-1]] and lines[2] == "1 jobs: 1 planned"
    about = "of CPU time for them with all that they build on, by earlier runs on"
    assert lines[3] == f"about 5 min {about} Chip, a processor that was not recorded"
    # What is built on counts for each data set and seed; other data sets have about its cost.
    for word, start in (("seed=7,8", "about 20 min"), ("protocol=reference", "about 10 min")):
        lines = missing(tree.path, capsys, word)
        assert lines[0].startswith("planned") and lines[-2].startswith(start)
    assert missing(tree.path, capsys, "model=GRU")[-2] == UNKNOWN


def test_hydras_own_words_are_no_axes(tmp_path: Path, capsys: Any) -> None:
    lines = missing(tmp_path, capsys, "hydra/launcher=joblib", "dataset=add_jump")
    assert lines[1] == "1 jobs: 1 planned" and lines[3].endswith("joblib dataset=add_jump")


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (("tabel2",), "did you mean table2?); choose from: clip_variants, clip_zero_shot,"),
        (("table2,table8",), "one preset at a time"),
        (("table2", "metod=equizero"), "did you mean method?"),
        (("table2", "method=equizer"), "did you mean equizero?"),
        (("table2", "group=rot90"), "group=rot90 does not act on dataset=add_jump"),
    ],
)
def test_bad_words_are_one_line(words: tuple[str, ...], reason: str, capsys: Any) -> None:
    assert main(["missing", *words]) == 2
    printed = capsys.readouterr()
    assert printed.out == "" and printed.err.count("\n") == 1
    assert printed.err.startswith("runs.py: ") and reason in printed.err


def test_committed_runs_of_machines_with_another_fast_precision_are_found(
    tmp_path: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`precision: auto` names a run by what the machine chooses; rows of all machines count."""
    words = ("figure5b", "dataset=symbols", "scale=demo", "arm=cnn/equitune", "seed=0")
    found = {}
    for fast in (True, False):
        monkeypatch.setattr(loading, "multiplies_bfloat16", lambda device, fast=fast: fast)
        assert main(["missing", *words, f"results={tmp_path}"]) == 0
        found[fast] = capsys.readouterr().out.splitlines()[0].split()[-1]
    assert found[True] != found[False]
    write(tmp_path, found[True], "cnn")
    assert main(["missing", *words, f"results={tmp_path}"]) == 0  # the machine is a slow one
    assert capsys.readouterr().out.splitlines()[0].split()[0] == "done"


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["missing"], "missing needs a preset, such as: python scripts/runs.py missing table2"),
        (
            ["list", "--status", "dune"],
            "--status=dune is not known (did you mean done?); choose from: ",
        ),
    ],
)
def test_a_mistake_is_one_line(words: list[str], line: str, capsys: Any) -> None:
    with pytest.raises(SystemExit) as caught:
        main(words)
    printed = capsys.readouterr()
    assert caught.value.code == 2 and printed.out == "" and printed.err.count("\n") == 1
    assert printed.err.startswith("runs.py") and line in printed.err


def test_where_all_rows_are_committed_no_job_is_listed(
    capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    lines = missing(ROOT / "results", capsys, "scale=paper")
    assert lines == ["all rows are in results/measured; nothing to run to draw table2"]


def test_without_data_committed_rows_tell_what_is_done(tree: Any, capsys: Any) -> None:
    columns = {"task": "clip", "dataset": "imagenet_v2", "model": "RN50", "group": "trivial"}
    own = {**columns, "transform": "rot90", "method": "pretrained"}
    path = tree.measured([tree.row(1.0, **own)], task="clip")
    records = json.loads(path.with_suffix(".json").read_text())
    records = {name: record | {"stage": "evaluate"} for name, record in records.items()}
    path.with_suffix(".json").write_text(json.dumps(records))
    words = ("figure4", "model=RN50", "method=pretrained,equitune", "group=rot90")
    assert main(["missing", *words, f"results={tree.path}"]) == 0
    done, planned, total, why, *_ = capsys.readouterr().out.splitlines()
    assert done == "done (committed)  method=pretrained"
    assert planned == "planned           method=equitune"
    assert total == "2 jobs: 1 done (committed), 1 planned"
    assert why.startswith("2 of them are told by committed rows alone, not by run folders: ")
    assert "dataset.root=FOLDER" in why


def test_a_reader_that_stops_early_ends_it_quietly() -> None:
    command = shlex.join([sys.executable, "scripts/runs.py", "missing", "table2", "seed=90,91"])
    found = subprocess.run(
        ["bash", "-c", f"{command} | head -1; exit ${{PIPESTATUS[0]}}"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert (found.returncode, found.stderr, found.stdout.count("\n")) == (141, "", 1)


def test_a_run_whose_rows_are_no_file_tells_nothing(tmp_path: Path, capsys: Any) -> None:
    folder = write(tmp_path, "evaluate-a")
    (folder / "metrics.csv").unlink(missing_ok=True)
    (folder / "metrics.csv").mkdir()
    assert missing(tmp_path, capsys)[-1].startswith("python run.py experiment=")
