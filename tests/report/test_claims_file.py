"""The file of claims: what is refused, and that the committed one names things that exist."""

from __future__ import annotations

import csv
import re
from pathlib import Path
from typing import Any

import pytest

from report.artefacts.dqn.tables import DATASETS
from report.claims.file import read_claims
from scripts.claims import main
from tests.report.conftest import ROOT

COMMITTED = ROOT / "results" / "paper" / "claims.yaml"
METHODS = "methods: [equizero, equitune]"
PER = "per: [dataset]"

ORDER = f"""\
claims:
  - id: order
    statement: One is better.
    where: Table 2
    task: scan
    kind: above
    {METHODS}
    metric: accuracy
    {PER}
"""


def read(folder: Path, text: str) -> Any:
    path = folder / "claims.yaml"
    path.write_text(text, encoding="utf-8")
    return read_claims(path)


def test_a_claim_is_read(tmp_path: Path) -> None:
    text = ORDER + "    margin: {dataset: {a: 1}}\n    demo: {per: [model], margin: 2}\n"
    [claim] = read(tmp_path, text)
    assert claim.task == ("scan",) and claim.metric == ("accuracy",)
    [comparison] = claim.compared
    assert comparison.name == "equizero > equitune" and comparison.weights == (1.0, -1.0)
    assert comparison.terms == ({"method": ("equizero",)}, {"method": ("equitune",)})
    assert claim.margin.of({"dataset": "a"}) == 1 and claim.margin.of({"dataset": "b"}) is None
    assert claim.at("paper") == claim and claim.at("demo").per == ("model",)
    assert claim.at("demo").margin.of({}) == 2


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("kind: above", "kind: abov", "unknown kind 'abov'; choose from above, below, equal"),
        ("methods:", "methds:", "unknown key 'methds'; choose from id, statement"),
        (PER, "of: us", "of: unknown claimant 'us'; choose from paper, ours"),
        (PER, "tests: []", "unknown key 'tests'; choose from id, statement"),
        ("kind: above", "kind: bound", "unknown key 'methods'; choose from id, statement"),
        (PER, "per: [datset]", "per: unknown column 'datset'; choose from task, dataset"),
        ("[equizero,", "[equizer,", "methods: unknown method 'equizer'; choose from pretrained"),
        ("    where: Table 2\n", "", "missing key 'where'; needed: id, statement, where"),
        (PER, "per: [method]", "method is under per and in a term"),
        (PER, "filters: {protocol: papr}", "unknown protocol 'papr'; choose from reference"),
        (PER, "any: [{method: equizer}]", "unknown method 'equizer'; choose from pretrained"),
        (PER, "filters: [split]", "filters: expected keys with values"),
        (PER, "unpaired: 1", "unpaired: expected true or false, found 1"),
        (PER, "note: [a]", "note: expected a text, found ['a']"),
        (PER, "margin: small", "margin: expected a number, found 'small'"),
        (PER, "margin: {datset: {a: 1}}", "unknown column 'datset'"),
        (PER, "margin: {dataset: {}, step: {}}", "expected one column"),
        (PER, "unit: pixels", "unknown unit 'pixels'; choose from images"),
        (PER, "scales: [huge]", "unknown scale 'huge'; choose from paper, demo"),
        (PER, "paper: {artefacts: table2}", "paper: unknown key 'artefacts'; choose from artefact"),
        (PER, "paper: {}", "paper: missing key 'artefact'"),
        (PER, "demo: {expct: {}}", "demo: unknown key 'expct'"),
        (METHODS, "methods: [equizero]", "nothing to compare; needed: methods or comparisons"),
        (METHODS, "comparisons: [{terms: [{}]}]", "comparisons: missing key 'name'"),
        (METHODS, "comparisons: [{name: a, terms: [{}], paper: [{}, {}]}]", "'a' has 1 terms"),
        (METHODS, "comparisons: [{name: a, terms: [{}, {}, {}]}]", "3 terms, 2 weights"),
    ],
)
def test_a_mistake_is_one_line_that_names_the_claim(
    tmp_path: Path, old: str, new: str, message: str
) -> None:
    assert old in ORDER
    with pytest.raises(ValueError, match=re.escape(message)) as caught:
        read(tmp_path, ORDER.replace(old, new))
    line = str(caught.value)
    assert line.startswith(f"{tmp_path / 'claims.yaml'}: claim 'order': ") and "\n" not in line


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("claims: [", "not YAML"),
        ("claim: []", "expected one key, claims, with a list"),
        ("claims: []\nmore: 1", "expected one key, claims, with a list"),
        ("claims: [1]", "claim 1: expected keys with values, found 1"),
        (ORDER + ORDER.removeprefix("claims:\n"), "a second claim of this id"),
    ],
)
def test_a_file_that_is_no_list_of_claims_is_one_line(
    tmp_path: Path, text: str, message: str
) -> None:
    with pytest.raises(ValueError, match=re.escape(message)) as caught:
        read(tmp_path, text)
    assert "\n" not in str(caught.value)


def test_the_program_says_it_in_one_line(tree: Any, capsys: Any) -> None:
    path = tree.path / "paper" / "claims.yaml"
    assert main(["--results", str(tree.path)]) == 2
    assert capsys.readouterr().err == f"claims.py: {path}: no such file\n"
    path.write_text(ORDER.replace("kind: above", "kind: abov"))
    assert main(["--results", str(tree.path)]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and "unknown kind 'abov'" in error
    assert not (tree.path / "figures").exists()


def test_presets_and_artefacts_exist() -> None:
    presets = {path.stem for path in (ROOT / "conf" / "experiment").glob("*.yaml")}
    with (ROOT / "results" / "paper" / "reported.csv").open(encoding="utf-8") as stream:
        artefacts = {row["artefact"] for row in csv.DictReader(stream)}
    for claim in read_claims(COMMITTED):
        texts = [text for at in ("paper", "demo") for text in claim.at(at).command.values.values()]
        assert {text.split()[0] for text in texts} <= presets, claim.id
        assert texts or claim.kind == "test"
        assert set(claim.paper.artefact) <= artefacts, claim.id


def test_no_verdict_is_typed_in() -> None:
    text = COMMITTED.read_text(encoding="utf-8").lower()
    assert not re.search(r"reproduced|undecided|not run here|does not hold", text)


def test_dqn_margins_and_groups_are_those_of_its_figure() -> None:
    [claim] = [claim for claim in read_claims(COMMITTED) if claim.id == "dqn-order"]
    for each in claim.any:
        [name] = each["dataset"]
        data = DATASETS[name]
        assert each["metric"] == (data.metric,) and each["step"] == (str(data.steps),)
        assert each["group"] == ("trivial", data.group)
        assert claim.margin.of({"dataset": name}) == data.tolerance
