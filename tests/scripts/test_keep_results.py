"""Committing rows: the tables read what was copied, with the records of all runs behind it."""

from __future__ import annotations

import csv
import json
import shutil
from typing import Any

import pytest

from report import checksums
from report.results import load_results
from report.rows import MEASURED_COLUMNS, read_metrics
from scripts.keep_results import Condition, keep, main, parse_condition, with_needed
from tests.scripts.conftest import ROOT, ran

PAPER = Condition("scale", ("paper",), wanted=True)


def kept(tree: Any, *conditions: str) -> list[str]:
    """Names of the runs that a command line keeps."""
    arguments = [word for text in conditions for word in ("--where", text)]
    assert main(["scan", "own", "--results", str(tree.path), *arguments]) == 0
    lines = (tree.path / "measured" / "scan" / "own.csv").read_text().splitlines()
    return sorted({line.rsplit(",", 1)[1] for line in lines[1:]})


def refusal(tree: Any, capsys: Any, *conditions: str) -> str:
    """The one line with which a command line is refused; nothing is written."""
    arguments = [word for text in conditions for word in ("--where", text)]
    assert main(["scan", "own", "--results", str(tree.path), *arguments]) == 2
    printed = capsys.readouterr()
    assert printed.out == "" and printed.err.count("\n") == 1
    assert not (tree.path / "measured").exists()
    return printed.err.removeprefix("keep_results.py: ").rstrip("\n")


def test_kept_rows_read_back_with_their_records(tree: Any) -> None:
    rows = [tree.row(70.0), tree.row(71.0, split="validation")]
    tree.run("evaluate-a", rows, facts={"pretrained_by": "pretrain-b"})
    tree.run("pretrain-b", [tree.row(1.0, method="")], stage="pretrain")
    tree.run("evaluate-demo", [tree.row(10.0, scale="demo")])
    tree.run("evaluate-failed", [tree.row(11.0)], status="failed")
    written, runs = keep(tree.path, "scan", "zero_shot", [PAPER])
    assert runs == 1
    records = json.loads(written.with_suffix(".json").read_text())
    assert set(records) == {"evaluate-a", "pretrain-b"}
    shutil.rmtree(tree.path / "runs")
    results = load_results(tree.path)
    assert sorted(results.ours["value"]) == [70.0, 71.0]
    assert set(results.ours["origin"]) == {"measured"}


def test_runs_with_the_same_numbers_are_replaced_in_other_files(tree: Any) -> None:
    tree.run("evaluate-a", [tree.row(70.0)], built_on={"pretrain": "pretrain-a"})
    tree.run("evaluate-b", [tree.row(60.0, seed="1")], built_on={"pretrain": "pretrain-b"})
    tree.run("pretrain-a", [], stage="pretrain")
    tree.run("pretrain-b", [], stage="pretrain")
    keep(tree.path, "scan", "zero_shot", [PAPER])
    shutil.rmtree(tree.path / "runs")
    tree.run("evaluate-c", [tree.row(71.0), tree.row(1.0, metric="passes")])
    with pytest.raises(
        ValueError, match=r"zero_shot.csv: 1 of its runs have other values .*--repl"
    ):
        keep(tree.path, "scan", "own", [PAPER])
    keep(tree.path, "scan", "own", [PAPER], replace=True)
    folder = tree.path / "measured" / "scan"
    assert set(json.loads((folder / "zero_shot.json").read_text())) == {"evaluate-b", "pretrain-b"}
    results = load_results(tree.path)
    assert sorted(results.ours["value"]) == [1.0, 60.0, 71.0]
    shutil.rmtree(tree.path / "runs")
    tree.run("evaluate-d", [tree.row(61.0, seed="1")])
    keep(tree.path, "scan", "last", [PAPER], replace=True)
    assert sorted(path.name for path in folder.iterdir()) == [
        *("last.csv", "last.json", "own.csv", "own.json")
    ]
    assert not list(checksums.changed(tree.path / "measured", "scan"))


def test_runs_whose_folders_are_gone_stay_in_the_file(tree: Any) -> None:
    tree.run("evaluate-a", [tree.row(70.0)], built_on={"pretrain": "pretrain-a"})
    tree.run("pretrain-a", [], stage="pretrain")
    tree.labels("evaluate-a", [SENTENCE])
    keep(tree.path, "scan", "own", [PAPER])
    shutil.rmtree(tree.path / "runs")
    tree.run("evaluate-b", [tree.row(60.0, seed="1")])
    tree.labels("evaluate-b", [SENTENCE])
    tree.run("evaluate-c", [tree.row(50.0, seed="2")])
    for conditions, values in (
        ([], [50.0, 60.0, 70.0]),
        ([parse_condition("seed=1")], [60.0, 70.0]),
    ):
        path, _ = keep(tree.path, "scan", "own", [PAPER, *conditions])
        assert sorted(row.value for row in read_metrics(path, MEASURED_COLUMNS)) == values
        records = json.loads(path.with_suffix(".json").read_text())
        assert len(records) == len(values) + 1 and "pretrain-a" in records
        texts = path.with_name("own_sentences.csv").read_text().splitlines()
        assert [line.partition(",")[0] for line in texts] == ["run", "evaluate-a", "evaluate-b"]
        assert not list(checksums.changed(tree.path / "measured", "scan"))
    tree.run("evaluate-d", [tree.row(71.0)])
    with pytest.raises(ValueError, match=r"own.csv: 1 of its runs have other values"):
        keep(tree.path, "scan", "own", [PAPER])
    path, _ = keep(tree.path, "scan", "own", [PAPER], replace=True)
    assert sorted(row.value for row in read_metrics(path, MEASURED_COLUMNS)) == [50.0, 60.0, 71.0]


def test_a_run_of_a_method_that_is_gone_is_named_and_left_out(tree: Any, capsys: Any) -> None:
    gone = tree.run("evaluate-a", [tree.row(70.0, method="mine")]).parent
    tree.run("evaluate-b", [tree.row(60.0)])
    assert keep(tree.path, "scan", "own", [PAPER])[1] == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"{gone} is left out: its method 'mine' is not registered; ")


@pytest.mark.parametrize(
    ("place", "names"),
    [
        ("built_on", ("finetune", "weigh", "pretrain")),
        # Of records of earlier versions.
        ("facts", ("finetuned_by", "weighted_by", "pretrained_by")),
    ],
)
def test_edges_of_records_are_followed_over_several_levels(
    tree: Any, place: str, names: tuple[str, str, str]
) -> None:
    finetune, weigh, pretrain = names
    edges = {
        "evaluate-a": {finetune: "finetune-b", weigh: "weigh-c"},
        "finetune-b": {weigh: "weigh-c"},
        "weigh-c": {pretrain: "pretrain-d"},
        **{"pretrain-d": {}, "pretrain-e": {}},
    }
    for run, own in edges.items():
        rows = [tree.row(70.0)] * (run == "evaluate-a")
        told = {"facts": {"device": "cpu"}, "built_on": own}
        told = {"facts": told["facts"] | own} if place == "facts" else told
        tree.run(run, rows, stage=run.partition("-")[0], **told)
    written, _ = keep(tree.path, "scan", "own", [PAPER])
    records = json.loads(written.with_suffix(".json").read_text())
    assert set(records) == {"evaluate-a", "finetune-b", "weigh-c", "pretrain-d"}
    assert records["weigh-c"][place][pretrain] == "pretrain-d"


def test_runs_that_name_each_other_end(tree: Any) -> None:
    tree.run("a", [], facts={"finetuned_by": "b"})
    tree.run("b", [], facts={"finetuned_by": "a", "pretrained_by": "b"})
    assert set(with_needed(["a"], tree.path / "runs" / "scan")) == {"a", "b"}


@pytest.mark.parametrize("state", ["absent", "failed", "unreadable"])
def test_a_missing_run_behind_the_rows_is_refused(tree: Any, capsys: Any, state: str) -> None:
    tree.run("evaluate-a", [tree.row(70.0)], facts={"finetuned_by": "finetune-b"})
    tree.run("finetune-b", [], stage="finetune", facts={"pretrained_by": "pretrain-c"})
    path = tree.path / "runs" / "scan" / "pretrain-c" / "record.json"
    if state != "absent":
        tree.run("pretrain-c", [], stage="pretrain", status="failed")
    if state == "unreadable":
        path.write_text("{")
    reason = {
        "absent": "no such file",
        "failed": "the run is not finished, its status is failed",
        "unreadable": "not a whole record",
    }[state]
    line = refusal(tree, capsys)
    assert line.startswith(f"{path}: {reason}")
    assert line.endswith(", which finetune-b was built on")


def test_conditions_choose_runs(tree: Any, capsys: Any) -> None:
    tree.run("zero", [tree.row(70.0), tree.row(71.0, split="validation")])
    tree.run("gru", [tree.row(60.0, model="GRU")])
    tree.run("built-in", [tree.row(90.0, model="G-LSTM", method="pretrained")])
    tree.run("tuned", [tree.row(95.0, step="10000")])
    tree.run("curve", [tree.row(70.0, step=step) for step in (0, 200, 3000)])
    both = "finetune.rate=scripts, finetune.weight_decay=0.0"
    tree.run("text", [tree.row(94.0, step="10000", variant="finetune.rate=text")])
    tree.run("both", [tree.row(93.0, step="10000", variant=both)])
    everything = ["both", "built-in", "curve", "gru", "text", "tuned", "zero"]
    assert kept(tree) == everything
    assert capsys.readouterr().err == ""
    assert kept(tree, "step=") == ["built-in", "gru", "zero"]
    left = capsys.readouterr().err
    assert left.endswith("own.csv: 4 runs do not meet the conditions: taken out\n")
    assert kept(tree, "step=", "model=LSTM,GRU") == ["gru", "zero"]
    assert kept(tree, "model!=LSTM,GRU") == ["built-in"]
    assert kept(tree, "step!=,10000") == ["curve"]
    assert kept(tree, "step=10000", "variant=") == ["tuned"]
    assert kept(tree, f"variant={both}") == ["both"]
    assert kept(tree, f"variant=finetune.rate=text,{both}") == ["both", "text"]
    # A run is kept whole or not at all.
    assert kept(tree, "split=test") == [name for name in everything if name != "zero"]


def test_the_scale_is_chosen_apart(tree: Any) -> None:
    tree.run("a", [tree.row(70.0)])
    tree.run("b", [tree.row(10.0, scale="demo")])
    assert kept(tree) == ["a"]
    assert main(["scan", "demo", "--results", str(tree.path), "--scale", "demo"]) == 0
    assert ",10.0,b\n" in (tree.path / "measured" / "scan" / "demo.csv").read_text()


def test_a_condition_reads_back() -> None:
    assert parse_condition("step!=,10000") == Condition("step", ("", "10000"), wanted=False)
    assert parse_condition("variant=a=b, c!=d,e") == Condition("variant", ("a=b, c!=d", "e"), True)
    assert str(parse_condition("step!=,10000")) == "step!=,10000"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "modle=LSTM",
            "--where 'modle=LSTM': unknown column 'modle'; choose from dataset, model, ",
        ),
        ("=LSTM", "--where '=LSTM': unknown column ''; choose from dataset, "),
        ("scale=demo", "--where 'scale=demo': unknown column 'scale'; choose from dataset, "),
        (
            "LSTM",
            "--where 'LSTM' is neither COLUMN=VALUE[,VALUE...] nor COLUMN!=VALUE[,VALUE...]; ",
        ),
        ("!model=LSTM", "--where '!model=LSTM' is neither COLUMN=VALUE[,VALUE...] nor "),
        (
            "method=equitune,equizer",
            "--where 'method=equitune,equizer': unknown method 'equizer'; choose from pretrained, "
            "equitune, equizero, lambda_equitune",
        ),
    ],
)
def test_a_malformed_condition_is_refused(tree: Any, capsys: Any, text: str, expected: str) -> None:
    tree.run("a", [tree.row(70.0)])
    assert refusal(tree, capsys, text).startswith(expected)


SENTENCE = {
    **{"judge": "minilm", "person": "man", "context": "was known for", "number": 0},
    **{"label": "neutral", "text": 'The man was "known",\r for | it.\nAnd'},
}


def test_sentences_are_kept_with_the_runs_that_have_texts(tree: Any) -> None:
    tree.run("a", [tree.row(70.0)])
    tree.run("b", [tree.row(71.0, seed=1)])
    tree.run("c", [tree.row(72.0, seed=2)])
    tree.run("foreign", [tree.row(73.0, model="gpt2_sentences")])
    others = {"judge": "words", "number": 1}
    tree.labels("b", [SENTENCE, SENTENCE | others])
    tree.labels("c", [{key: text for key, text in SENTENCE.items() if key != "text"}])
    tree.labels("foreign", [SENTENCE])
    written, runs = keep(tree.path, "scan", "own", [PAPER])
    assert runs == 4
    path = written.with_name("own_sentences.csv")
    with path.open(newline="", encoding="utf-8") as stream:
        [line] = csv.DictReader(stream, strict=True)
    text = 'The man was "known",  for | it. And'
    assert line == {"run": "b"} | {k: str(v) for k, v in (SENTENCE | {"text": text}).items()}
    # It is no file of numbers.
    assert len(load_results(tree.path).ours) == 4


def test_sentences_of_an_earlier_choice_are_removed(tree: Any) -> None:
    tree.run("a", [tree.row(70.0)])
    tree.labels("a", [SENTENCE])
    written, _ = keep(tree.path, "scan", "own", [PAPER])
    path = written.with_name("own_sentences.csv")
    assert path.is_file()
    (tree.path / "runs" / "scan" / "a" / "labels.csv").unlink()
    keep(tree.path, "scan", "own", [PAPER])
    assert not path.exists()


def test_a_name_of_sentences_is_refused(tree: Any, capsys: Any) -> None:
    tree.run("a", [tree.row(70.0)])
    assert main(["scan", "own_sentences", "--results", str(tree.path)]) == 2
    assert "own_sentences: files that end with _sentences" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["foo", "own"], "task=foo is not known; choose from: clip, cnn, dqn, fairness, scan"),
        (["scan", "../../own"], "'../../own' is not the name of a file"),
    ],
)
def test_places_elsewhere_are_refused(
    tree: Any, capsys: Any, words: list[str], expected: str
) -> None:
    tree.run("a", [tree.row(70.0)])
    before = sorted(tree.path.rglob("*"))
    try:
        status: Any = main([*words, "--results", str(tree.path)])
    except SystemExit as ended:
        status = ended.code
    error = capsys.readouterr().err
    assert status == 2 and expected in error and error.count("\n") == 1
    assert sorted(tree.path.rglob("*")) == before


def test_nothing_to_keep_is_said(tree: Any, capsys: Any) -> None:
    tree.run("a", [tree.row(70.0)])
    line = refusal(tree, capsys, "model=GRU,RNN", "step!=")
    assert line.startswith("no finished run of task scan under ")
    assert line.endswith(" has model=GRU,RNN, step!=, scale=paper")


def test_it_runs_as_a_file_and_explains_conditions() -> None:
    done = ran(ROOT / "scripts" / "keep_results.py", "--help", cwd="/")
    assert "COLUMN!=VALUE[,VALUE...]" in done.stdout and "step=" in done.stdout
