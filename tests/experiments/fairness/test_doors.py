"""The paper's model and scorer: from the hub, from its cache, from folders with the same files."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from huggingface_hub import constants

from experiments.external import hub as hub_files
from experiments.fairness import generate, pretrained, scorers
from experiments.fairness.scorers import scorer_of
from experiments.fairness.sentences import SENTENCES
from experiments.fairness.source_checks import check_wanted
from experiments.fairness.sources import wanted_of, weights_identity
from experiments.frame.errors import UserError
from experiments.frame.options import AnyConfig
from experiments.frame.records import FinishedRun
from experiments.frame.runner import StopSignal, ensure, execute
from experiments.frame.stages import name_run
from experiments.frame.tasks import load_task
from experiments.frame.variant import variant
from tests.experiments.emulated import fetch_all, point_to
from tests.experiments.fairness.published import (
    BALLAST,
    GPT2,
    GPT2_COMMIT,
    PICKLE,
    REGARD,
    REGARD_MAIN,
    REGARD_PR,
    SAFE,
    add_gpt2,
    add_regard,
    gpt2,
    hub_of_the_paper,
    regard,
    without,
    write,
)
from tests.experiments.hub_server import HubServer, Repository

Configure = Callable[..., AnyConfig]
#: The models here are no more than stand-ins for the real ones, whose digests are known.
OTHER = "task.scorers.regardv3.sha256=null"
PAPER = (
    *("task=fairness", "model=gpt2", "task.sentences=10", "task.tokens=3"),
    *("model.sha256=null", OTHER),
)
PLANTED = (
    *("task=fairness", OTHER, "task.sentences=10", "task.tokens=3", "task.pretrain.sentences=100"),
    *("task.pretrain.epochs=1", "model.width=16", "model.heads=2", "model.layers=1"),
)
LAMBDA = ("method=lambda_equitune", "task.lambda_sentences=10", "method.lambda_net.steps=2")
JUDGED = ("task.judges=[regardv3,words]", "task.scorer=words")
TEXTS = ["XYZ was known kind", "cruel"]


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[HubServer]:
    with hub_of_the_paper(monkeypatch, tmp_path / "cache") as server:
        yield server


def name_of(config: AnyConfig) -> str:
    task = load_task("fairness")
    return name_run(task, task.stages["evaluate"], config).folder


def sentences(run: FinishedRun) -> list[Path]:
    return sorted(run.folder.parent.glob(f"*/{SENTENCES}"))


def digests(files: dict[str, bytes]) -> dict[str, str]:
    kept = {name: c for name, c in files.items() if name not in (*BALLAST, PICKLE)}
    return {name: hashlib.sha256(content).hexdigest() for name, content in kept.items()}


def test_the_papers_model_and_scorer_are_fetched_once(hub: HubServer, configure: Configure) -> None:
    config = configure(*PAPER, "method=equizero")
    fetch_all(config)
    asked = {request.path.rpartition("/")[2] for request in hub.requests}
    assert {SAFE, "vocab.txt", "merges.txt"} <= asked
    assert not asked & {PICKLE, *BALLAST}
    hub.clear()
    run = execute(config)
    assert not hub.requests
    facts = run.record["facts"]
    expected = (("weights", GPT2_COMMIT, gpt2()), ("scorer_regardv3", REGARD_PR, regard()))
    for fact, commit, files in expected:
        assert (facts[fact]["commit"], facts[fact]["sha256"]) == (commit, digests(files))
    # Of its own accord a run does the same, and so it does without a hub.
    again = configure(*PAPER, "method=equizero", f"results={config.results}-again")
    hub.close()
    assert execute(again).record["metrics_sha256"] == run.record["metrics_sha256"]


def test_the_branch_without_safetensors_gives_the_same_labels(
    hub: HubServer, configure: Configure
) -> None:
    config = configure(*PAPER)
    short = configure(*PAPER[:2], "task.scorers.regardv3.revision=9232a1d")
    labels = [scorer_of(chosen, "regardv3")(TEXTS) for chosen in (config, short)]
    assert torch.equal(*labels)
    asked = [request.path for request in hub.requests if request.path.startswith("/cdn/")]
    assert [path.rpartition("/")[2] for path in asked] == [SAFE, PICKLE]
    assert REGARD_MAIN.startswith("9232a1d")


def test_a_name_of_before_leads_to_the_model(hub: HubServer, configure: Configure) -> None:
    chosen = ("task=fairness", "model=causal_lm", "model.source=gpt2", "task.sentences=10")
    config = configure(*chosen, "task.tokens=3", "method=equitune", *JUDGED)
    finished = ensure(config, "generate", StopSignal())
    weights = finished.record["facts"]["weights"]
    assert (weights["source"], weights["commit"]) == ("gpt2", GPT2_COMMIT)
    hub.clear()
    config.results += "-again"
    ensure(config, "generate", StopSignal())
    assert not hub.requests


@pytest.mark.parametrize("method", ["pretrained", "lambda_equitune"])
def test_a_missing_judge_ends_a_run_before_it_has_cost_anything(
    hub: HubServer, configure: Configure, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    hub.add(Repository(REGARD, "model", {}, {}))
    options = LAMBDA if method == "lambda_equitune" else (f"method={method}",)
    config = configure(*PLANTED, *JUDGED, *options)
    monkeypatch.setattr(generate, "load_model", lambda *_: pytest.fail("a model was loaded"))
    with pytest.raises(UserError) as refused:
        execute(config)
    line = str(refused.value)
    for part in (REGARD, "task.scorers.regardv3.local=FOLDER", "scripts/fetch.py PRESET"):
        assert part in line
    runs = [path.name for path in Path(config.results).glob("runs/*/*")]
    assert len(runs) == 1 and runs[0].startswith("evaluate-")


def test_a_judge_with_other_labels_ends_a_run_before_it_has_cost_anything(
    hub: HubServer, configure: Configure, tmp_path: Path
) -> None:
    other = json.loads(regard()["config.json"])
    other["id2label"] = {"0": "good", "1": "bad", "2": "ugly", "3": "other"}
    folder = write(tmp_path / "other", regard() | {"config.json": json.dumps(other).encode()})
    config = configure(*PLANTED, *JUDGED, f"task.scorers.regardv3.source={folder}")
    with pytest.raises(UserError, match="its labels are good, bad, ugly, other"):
        execute(config)
    assert not list(Path(config.results).rglob(SENTENCES))


def test_a_scorer_is_loaded_once(
    hub: HubServer, configure: Configure, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded = []
    load = pretrained.load_pretrained

    def watch(kind: str, *arguments: Any) -> Any:
        loaded.append(kind)
        return load(kind, *arguments)

    monkeypatch.setattr("experiments.fairness.encoders.load_pretrained", watch)
    scorers._made.cache_clear()
    config = configure(*PLANTED, "task.judges=[regardv3]", "task.scorer=regardv3")
    execute(config)
    assert loaded == ["AutoModelForSequenceClassification"]


def test_a_damaged_file_of_the_cache_is_refused(
    hub: HubServer, configure: Configure, tmp_path: Path
) -> None:
    config = configure(*PAPER, "method=equizero")
    fetch_all(config)
    weights = next((tmp_path / "cache").rglob(f"*regardv3/snapshots/*/{SAFE}"))
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.resolve().write_bytes(content)
    with pytest.raises(UserError, match=rf"{SAFE}: is damaged .*delete .*{weights.resolve().name}"):
        execute(config)


def test_what_a_stage_asks_is_what_is_fetched(hub: HubServer, configure: Configure) -> None:
    fetch_all(configure("task=fairness"))
    assert not hub.requests
    fetch_all(configure(*PAPER, "method=equitune", "stage=generate"))
    assert not any(REGARD in request.path for request in hub.requests)
    hub.clear()
    fetch_all(configure(*PAPER, "method=equizero", "stage=regard"))
    assert hub.requests and not any(GPT2 in request.path for request in hub.requests)


#: A model and a scorer of the hub's main branches.
NEWEST = (
    *("task=fairness", "model=causal_lm", f"model.source={GPT2}", "task.sentences=10"),
    *("task.tokens=3", "method=equitune", "task.judges=[regardv3]", OTHER),
    f"task.scorers.regardv3.source={GPT2}",
)


def identity_of(config: AnyConfig) -> list[Any]:
    """Return what names the model and the scorer."""
    identity = load_task("fairness").stages["evaluate"].identity(config)
    return [identity["generated_by"]["weights"], identity["judges"]["regardv3"]]


def test_without_a_revision_the_commit_that_is_used_is_part_of_the_name(
    hub: HubServer, configure: Configure, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = configure(*NEWEST)
    assert not hub.requests
    told = identity_of(config)
    assert [part["commit"] for part in told] == [GPT2_COMMIT] * 2
    assert [request.path for request in hub.requests] == [f"/api/models/{GPT2}"]
    before = name_of(config)
    fetch_all(configure(*NEWEST, "stage=generate"))
    hub.clear()
    # What the hub has since then is not used, and not asked for.
    commits = {GPT2_COMMIT: gpt2(), "1" * 40: gpt2()}
    hub.add(Repository(GPT2, "model", commits, {"main": "1" * 40}))
    assert name_of(config) == before and not hub.requests
    (main,) = (tmp_path / "cache").glob("*gpt2/refs/main")
    main.write_text("1" * 40)
    assert [part["commit"] for part in identity_of(config)] == ["1" * 40] * 2
    moved = name_of(config)
    assert moved != before and not hub.requests
    # Another machine, where the cache is empty.
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "empty"))
    hub_files._told_commit.cache_clear()
    assert name_of(config) == moved
    hub.clear()
    hub_files._told_commit.cache_clear()
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert [part["commit"] for part in identity_of(config)] == [None] * 2
    assert not hub.requests


@pytest.mark.parametrize("revision", [GPT2_COMMIT, GPT2_COMMIT[:7], "main"])
def test_a_commit_names_itself_and_a_branch_does_not(
    hub: HubServer, configure: Configure, revision: str
) -> None:
    config = configure(*NEWEST, f"model.revision={revision}", "task.judges=[words]")
    found = weights_identity(config.model)
    commit = {"commit": GPT2_COMMIT} if revision == "main" else {}
    assert found == {"source": GPT2, "revision": revision} | commit
    assert bool(hub.requests) == (revision == "main")


def test_a_folder_in_place_of_the_newest_is_named_by_the_cache_s_commit_or_its_own_content(
    hub: HubServer, configure: Configure, tmp_path: Path
) -> None:
    options = (*NEWEST, "task.judges=[words]")
    here = (local(tmp_path)[0], pins()[0])
    unknown = weights_identity(configure(*options, *here).model)
    assert unknown["commit"] is None and unknown["unknown"] == digests(gpt2())
    assert not hub.requests
    fetch_all(configure(*options, "stage=generate"))
    assert name_of(configure(*options, *here)) == name_of(configure(*options))


def local(tmp_path: Path) -> tuple[str, str]:
    """Return the options that give the hub's files as folders of this machine."""
    for name, files in (("gpt2", gpt2()), ("regard", without(regard(), PICKLE))):
        if not (tmp_path / name).exists():
            write(tmp_path / name, files)
    return (
        f"model.local={tmp_path / 'gpt2'}",
        f"task.scorers.regardv3.local={tmp_path / 'regard'}",
    )


def pins() -> tuple[str, str]:
    found = [hashlib.sha256(files[SAFE]).hexdigest() for files in (gpt2(), regard())]
    return f"model.sha256={found[0]}", f"task.scorers.regardv3.sha256={found[1]}"


def test_the_same_files_in_folders_are_the_same_run(
    hub: HubServer, configure: Configure, tmp_path: Path
) -> None:
    fetch_all(configure(*PAPER, "method=equizero"))
    hub.clear()
    plain = configure(*PAPER, "method=equizero")
    here = configure(*PAPER, "method=equizero", *local(tmp_path))
    assert name_of(here) == name_of(plain)
    assert variant(here) == variant(plain) == "tokens=3"
    run = execute(here)
    assert not hub.requests
    assert run.record["facts"]["weights"]["sha256"] == digests(gpt2())
    fetched = execute(configure(*PAPER, "method=equizero", f"results={tmp_path}/fetched"))
    assert fetched.folder.name == run.folder.name
    assert fetched.record["metrics_sha256"] == run.record["metrics_sha256"]


@pytest.mark.parametrize("folder", ["gpt2", "regard"])
def test_files_that_nothing_here_can_compare_are_part_of_the_name(
    hub: HubServer, configure: Configure, tmp_path: Path, folder: str
) -> None:
    options = (*PAPER, "method=equizero", *local(tmp_path), *pins())
    names = {name_of(configure(*options)), name_of(configure(*options))}
    assert len(names) == 1
    texts = tmp_path / folder / "config.json"
    texts.write_bytes(texts.read_bytes() + b" ")
    assert name_of(configure(*options)) not in names
    assert not hub.requests


def test_the_cache_tells_what_a_folder_must_be(
    hub: HubServer, configure: Configure, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=rf"model.local=.*what {SAFE} of .*model.sha256=HEX"):
        configure(*PAPER, *local(tmp_path))
    fetch_all(configure(*PAPER, "method=equizero"))
    hub.clear()
    config = configure(*PAPER, *local(tmp_path))
    assert not hub.requests
    for name, key in (("gpt2", "model"), ("regard", "task.scorers.regardv3")):
        section = config.model if key == "model" else config.task.scorers["regardv3"]
        for file in (SAFE, "config.json", "tokenizer_config.json"):
            path = tmp_path / name / file
            content = path.read_bytes()
            path.write_bytes(content + b" ")
            with pytest.raises(UserError, match=f"{key}.local=.*{file} is not that of"):
                check_wanted(wanted_of(section, key))
            path.write_bytes(content)


@pytest.mark.parametrize(
    ("options", "line"),
    [
        (["model.local=nowhere"], "model.local=nowhere: no such folder"),
        (["model.sha256=12"], "model.sha256=12: must be 64 digits"),
        (["model=PlantedGPT2", "+model.sha256=12"], "model=PlantedGPT2 is none"),
        (["model.source=x/y/z"], "model.source=x/y/z: no such folder or package, and no name"),
        (["model.source=conf/model"], "conf/model: has no config.json"),
        (
            ["+task.scorers.words.local=x", *JUDGED],
            "local and sha256 are for kinds encoder and hub",
        ),
        (["task.scorers.regardv3.kind=hut"], "task.scorers.regardv3.kind=hut is not known"),
    ],
)
def test_what_cannot_be_is_refused_at_once(
    hub: HubServer, configure: Configure, options: list[str], line: str
) -> None:
    named = any(option.startswith("model=") for option in options)
    given = PAPER[:1] if named else PAPER
    with pytest.raises(UserError) as refused:
        configure(*given, *options)
    assert line in str(refused.value) and not hub.requests


def test_other_bytes_are_never_taken_for_the_hubs(
    hub: HubServer, configure: Configure, tmp_path: Path
) -> None:
    options = local(tmp_path)
    (tmp_path / "regard" / SAFE).write_bytes(regard(seed=1)[SAFE])
    with pytest.raises(UserError, match=r"regard: model.safetensors is not that of sasha/regardv3"):
        configure(*PAPER, *options, *pins())


def test_a_source_of_ones_own_does_not_have_the_pins_of_the_papers(
    hub: HubServer, configure: Configure
) -> None:
    own = ("model.source=someone/else", "task.scorers.regardv3.source=an/other")
    config = configure(*PAPER[:2], *own)
    for section in (config.model, config.task.scorers["regardv3"]):
        assert section.revision is section.sha256 is None
    config = configure(*PAPER[:2], "model.revision=main")
    assert (config.model.revision, config.model.sha256) == ("main", None)
    given = configure(*PAPER[:2], own[0], "model.revision=v1", f"model.sha256={'0' * 64}")
    assert (given.model.revision, given.model.sha256) == ("v1", "0" * 64)


def test_the_hub_says_no(
    hub: HubServer, configure: Configure, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = configure(*PAPER, "method=equitune", "task.judges=[words]")
    point_to(monkeypatch, HubServer.closed_port_url())
    with pytest.raises(UserError, match=rf"model.source={GPT2} .*model.local=FOLDER"):
        execute(config)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(UserError, match=rf"{GPT2} .*HF_HUB_OFFLINE=1 forbids .*fetch.py PRESET"):
        execute(config)
    config.preset = "figure3"
    with pytest.raises(UserError, match=r"fetch\.py figure3"):
        execute(config)
    assert not hub.requests


@pytest.mark.slow
def test_what_fails_at_the_door_is_few_lines(run_py: Any, tmp_path: Path) -> None:
    closed = {"HF_ENDPOINT": HubServer.closed_port_url(), "HF_HOME": str(tmp_path / "home")}
    ended = run_py(*PAPER, "method=pretrained", **closed)
    lines = (ended.stdout + ended.stderr).splitlines()
    assert ended.returncode == 1 and len(lines) <= 5
    assert lines[-1].startswith("run.py: task.scorers.regardv3.source=sasha/regardv3 cannot be")


@pytest.mark.slow
def test_a_run_shows_no_line_of_transformers(run_py: Any, tmp_path: Path) -> None:
    with HubServer() as server:
        add_gpt2(server)
        add_regard(server)
        places = {"HF_ENDPOINT": server.url, "HF_HOME": str(tmp_path / "home")}
        ended = run_py(*PAPER, "method=pretrained", **places)
    assert ended.returncode == 0
    # Each line that is logged begins with the time.
    assert all(line[:2].isdigit() and line[2] == ":" for line in ended.stderr.splitlines())
