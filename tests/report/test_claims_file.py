"""The file of claims: what is refused, and that the committed one names things that exist."""

from __future__ import annotations

import csv
import re
from pathlib import Path
from typing import Any

import pytest

from report.claims.file import read_claims
from scripts.claims import main

ROOT = Path(__file__).resolve().parents[2]
COMMITTED = ROOT / "results" / "paper" / "claims.yaml"

ORDER = """\
claims:
  - id: order
    statement: One is better.
    where: Table 2
    task: scan
    kind: order
    methods: [equizero, equitune]
    metric: accuracy
    per: [dataset]
"""


def read(folder: Path, text: str) -> Any:
    path = folder / "claims.yaml"
    path.write_text(text, encoding="utf-8")
    return read_claims(path)


def test_a_claim_is_read(tmp_path: Path) -> None:
    [claim] = read(tmp_path, ORDER)
    assert claim.id == "order" and claim.tasks == ("scan",)
    [comparison] = claim.comparisons
    assert comparison.name == "equizero > equitune"
    assert [term.weight for term in comparison.terms] == [1.0, -1.0]
    assert claim.filters == {"metric": ("accuracy",)}


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("kind: order", "kind: ordr", "unknown kind 'ordr'; choose from order, contrast"),
        ("methods:", "methds:", "unknown key 'methds'; choose from id, statement"),
        ("per: [dataset]", "per: [datset]", "unknown column 'datset'; choose from task, dataset"),
        ("[equizero,", "[equizer,", "unknown method 'equizer'; choose from pretrained"),
        ("    where: Table 2\n", "", "missing key 'where'; needed: id, statement, where"),
        ("per: [dataset]", "per: [method]", "method is under per and in a term"),
        ("per: [dataset]", "filters: {protocol: papr}\n    per: []", "unknown protocol 'papr'"),
        ("per: [dataset]", "filters: [split]\n    per: []", "expected keys with values"),
        ("per: [dataset]", "per: []\n    margin: small", "expected a number, found 'small'"),
        ("per: [dataset]", "per: []\n    margin: {datset: {a: 1}}", "unknown column 'datset'"),
        ("per: [dataset]", "per: []\n    margin: {dataset: {}, step: {}}", "expected one column"),
        ("per: [dataset]", "per: []\n    unit: pixels", "unknown unit 'pixels'"),
        ("per: [dataset]", "per: []\n    scales: [huge]", "unknown scale 'huge'"),
        ("per: [dataset]", "per: []\n    paper: {artefacts: table2}", "unknown key 'artefacts'"),
        ("per: [dataset]", "per: []\n    demo: {expct: {}}", "demo: unknown key 'expct'"),
        ("methods: [equizero, equitune]", "methods: [equizero]", "nothing to compare"),
    ],
)
def test_a_mistake_is_one_line_that_names_the_claim(
    tmp_path: Path, old: str, new: str, message: str
) -> None:
    assert old in ORDER
    with pytest.raises(ValueError, match=re.escape(message)) as caught:
        read(tmp_path, ORDER.replace(old, new))
    line = str(caught.value)
    assert line.startswith(f"{tmp_path / 'claims.yaml'}: claim 'order'") and "\n" not in line


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("claims: [", "not YAML"),
        ("claim: []", "expected one key, claims, with a list"),
        ("claims: [1]", "expected keys with values, found 1"),
        ("claims: []\nmore: 1", "unknown key 'more'"),
        (ORDER + ORDER.removeprefix("claims:\n"), "a second claim of this id"),
    ],
)
def test_a_file_that_is_no_list_of_claims_is_one_line(
    tmp_path: Path, text: str, message: str
) -> None:
    with pytest.raises(ValueError, match=re.escape(message)) as caught:
        read(tmp_path, text)
    assert "\n" not in str(caught.value)


def test_terms_need_as_many_changes_for_the_paper(tmp_path: Path) -> None:
    text = ORDER.replace("kind: order", "kind: contrast").replace(
        "methods: [equizero, equitune]",
        "comparisons: [{name: a, terms: [{method: equizero}], paper: [{}, {}]}]",
    )
    with pytest.raises(ValueError, match="'a' has 1 terms and 2 under paper"):
        read(tmp_path, text)


def test_the_program_says_it_in_one_line(tree: Any, capsys: Any) -> None:
    assert main(["--results", str(tree.path)]) == 2
    printed = capsys.readouterr()
    assert printed.err == f"error: {tree.path / 'paper' / 'claims.yaml'}: no such file\n"
    (tree.path / "paper" / "claims.yaml").write_text(ORDER.replace("order\n", "oder\n"))
    assert main(["--results", str(tree.path)]) == 2
    printed = capsys.readouterr()
    assert printed.err.count("\n") == 1 and "unknown kind 'oder'" in printed.err
    assert not (tree.path / "figures").exists()


@pytest.mark.parametrize("scale", ["paper", "demo"])
def test_commands_name_presets_that_exist(scale: str) -> None:
    presets = {path.stem for path in (ROOT / "conf" / "experiment").glob("*.yaml")}
    for claim in read_claims(COMMITTED, scale):
        for text in claim.command.values.values():
            assert (claim.kind == "test" and not text) or text.split()[0] in presets, claim.id


def test_artefacts_are_those_of_the_paper_s_rows() -> None:
    with (ROOT / "results" / "paper" / "reported.csv").open(encoding="utf-8") as stream:
        known = {row["artefact"] for row in csv.DictReader(stream)}
    for claim in read_claims(COMMITTED):
        assert set(claim.paper.artefacts) <= known, claim.id


def test_no_verdict_is_typed_in() -> None:
    text = COMMITTED.read_text(encoding="utf-8").lower()
    assert not re.search(r"reproduced|undecided|not run here|does not hold", text)


def test_dqn_margins_and_groups_are_those_of_its_figure() -> None:
    from report.artefacts.dqn.common import DATASETS

    [claim] = [claim for claim in read_claims(COMMITTED) if claim.id == "dqn-order"]
    for each in claim.alternatives:
        [name] = each["dataset"]
        data = DATASETS[name]
        assert each["metric"] == (data.metric,) and each["step"] == (str(data.steps),)
        assert each["group"] == ("trivial", data.group)
        assert claim.margin.of({"dataset": name}) == data.tolerance
