"""Fairness runs: from the planted model to shares and gaps; what is shared; what is resumed."""

from __future__ import annotations

import csv
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from experiments.fairness import synthetic_lm
from experiments.fairness.evaluate import LABELLED
from experiments.fairness.sentences import SENTENCES, Sentence, read_csv, read_written, to_csv
from experiments.frame.errors import Interrupted, UserError
from experiments.frame.options import AnyConfig
from experiments.frame.rows import LABELS
from experiments.frame.runner import StopSignal, ensure, execute
from experiments.frame.stages import name_run
from experiments.frame.tasks import load_task
from experiments.frame.variant import variant
from tests.experiments.metrics import rows, value

Configure = Callable[..., AnyConfig]
RunPy = Callable[..., "subprocess.CompletedProcess[str]"]
SHORT = (
    "task=fairness",
    "task.sentences=40",
    "task.pretrain.sentences=200",
    "task.pretrain.epochs=1",
    "model.width=16",
    "model.heads=2",
    "model.layers=1",
)
METHODS = ("pretrained", "equitune", "equizero", "lambda_equitune")
PEOPLE = ("man", "woman")
LAMBDA = ("task.lambda_sentences=20", "method.lambda_net.steps=5")


def options(method: str) -> tuple[str, ...]:
    return (*SHORT, f"method={method}", *(LAMBDA if method == "lambda_equitune" else ()))


def name_of(config: AnyConfig, stage: str) -> str:
    task = load_task("fairness")
    return name_run(task, task.stages[stage], config).hash


@pytest.mark.parametrize("method", METHODS)
def test_a_method_is_judged_on_sentences_about_all_groups(
    configure: Configure, method: str
) -> None:
    config = configure(*options(method))
    run = execute(config)
    for person in PEOPLE:
        shares = [value(run.folder, metric=label, view=person, split="words") for label in LABELS]
        assert sum(shares) == pytest.approx(100)
        regard = value(run.folder, metric="regard", view=person)
        assert regard == pytest.approx(shares[0] - shares[-1])
        assert value(run.folder, metric="sentences", view=person) == 40
    gap = value(run.folder, metric="regard_gap", view="man - woman")
    mirrored = value(run.folder, metric="mirrored_sentences")
    error = value(run.folder, metric="equivariance_error")
    if method == "pretrained":
        assert mirrored < 100
        assert error > 0.1
    else:
        assert (gap, mirrored) == (0, 100)
        assert error < 1e-4
    passes = value(run.folder, metric="passes")
    if method == "equizero":  # blocks are read again, and none goes on behind the end
        assert 3 < passes < 6
    else:
        assert passes == (1 if method == "pretrained" else 2)
    trained = value(run.folder, metric="trained_parameters")
    assert trained > 1000 if method == "lambda_equitune" else trained == 0
    with open(run.folder / LABELLED, newline="") as stream:
        labelled = list(csv.DictReader(stream))
    assert len(labelled) == 80
    assert {row["person"] for row in labelled} == set(PEOPLE)
    good = sum(row["label"] == "positive" and row["person"] == "man" for row in labelled)
    assert value(run.folder, metric="positive", view="man") == pytest.approx(100 * good / 40)


def test_the_planted_bias_is_that_of_the_templates() -> None:
    texts = synthetic_lm.draw_sentences(4000, 0)
    assert texts == synthetic_lm.draw_sentences(4000, 0)
    bad = {word for kind in (synthetic_lm._ADJECTIVES, synthetic_lm._QUALITIES, synthetic_lm._WORK)
           for word in kind["negative"].split()}  # fmt: skip
    for person in ("man", "woman"):
        chosen = [t for t in texts if t.startswith(f"The {person} ") and "earned" not in t]
        share = sum(bool(bad & set(text.strip(".").split())) for text in chosen) / len(chosen)
        assert share == pytest.approx(synthetic_lm.PERSONS[person][1], abs=0.09)
    tokenizer = synthetic_lm.make_tokenizer()
    for text in texts[:200]:
        ids = tokenizer.encode(text, add_special_tokens=False)
        assert tokenizer.decode(ids) == text
        assert tokenizer.unk_token_id not in ids


def test_stages_are_shared_where_they_may(configure: Configure) -> None:
    plain = configure(*options("pretrained"))
    zero = configure(*options("equizero"))
    assert name_of(plain, "pretrain") == name_of(zero, "pretrain")
    assert name_of(plain, "regard") == name_of(zero, "regard")
    assert name_of(plain, "generate") != name_of(zero, "generate")
    # The scorer and the mask decide what equizero writes, and nothing of what the others write.
    for option in ("task.mask=false", "task.scorers.words.negative=neutral_occupation"):
        changed = configure(*options("pretrained"), option)
        assert name_of(changed, "generate") == name_of(plain, "generate")
        assert name_of(changed, "evaluate") != name_of(plain, "evaluate")
        changed = configure(*options("equizero"), option)
        assert name_of(changed, "generate") != name_of(zero, "generate")
    seeded = configure(*options("pretrained"), "seed=1")
    assert name_of(seeded, "generate") != name_of(plain, "generate")
    batch = configure(*options("pretrained"), "task.batch=3")
    assert name_of(batch, "evaluate") == name_of(plain, "evaluate")


def test_departures_are_named(configure: Configure) -> None:
    assert variant(configure("task=fairness", "task.sentences=50")) == ""
    relaxed = configure("task=fairness", "method=equizero", "task.relaxed=true")
    assert variant(relaxed) == "relaxed=True"
    samples = configure("task=fairness", "method=equizero", "task.branches=samples")
    assert variant(samples) == "branches=samples"
    reference = configure("task=fairness", "method=equitune", "protocol=reference")
    assert variant(reference) == ""
    open_eyes = configure("task=fairness", "method=equizero", "task.mask=false")
    assert variant(open_eyes) == "mask=False"


@pytest.mark.parametrize("words", ["quiet\nunheardof", "unheardof"])
def test_listed_words_that_are_no_token_are_noted(
    configure: Configure, tmp_path: Path, words: str
) -> None:
    (tmp_path / "n.txt").write_text(words)
    given = (f"dataset.neutral={tmp_path}/n.txt", "group.general=[town,strange]")
    config = configure(*options("equitune"), "task.relaxed=true", "task.neutral=listed", *given)
    if words == "unheardof":
        with pytest.raises(UserError, match=r"n.txt: no word of it is one token of this model"):
            ensure(config, "generate", StopSignal())
        return
    facts = ensure(config, "generate", StopSignal()).record["facts"]
    assert {"strange", "unheardof"} <= set(facts["words_without_token"])
    assert not {"town", "quiet"} & set(facts["words_without_token"])


def test_an_interrupted_generation_ends_with_the_same_sentences(
    configure: Configure, tmp_path: Path
) -> None:
    whole = ensure(configure(*options("equizero")), "generate", StopSignal())
    again = configure(*options("equizero"), f"results={tmp_path}/again")

    class StopAfter(StopSignal):
        asked = 0

        @property
        def received(self) -> bool:
            self.asked += 1
            return self.asked > 6

        @received.setter
        def received(self, value: bool) -> None:
            """Only the count decides."""

    with pytest.raises(Interrupted):
        ensure(again, "generate", StopAfter())
    finished = ensure(again, "generate", StopSignal())
    assert finished.record["attempts"] == 2
    assert (finished.folder / SENTENCES).read_bytes() == (whole.folder / SENTENCES).read_bytes()


def test_a_stopped_training_of_the_planted_model_ends_as_it_would_have(
    configure: Configure, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen = (*SHORT, "task.pretrain.epochs=3", "task.pretrain.batch_size=64")
    whole = ensure(configure(*chosen), "pretrain", StopSignal())
    again = configure(*chosen, f"results={tmp_path}/again")
    take, seen = synthetic_lm.Pretraining.step, list[int]()

    def step(self: synthetic_lm.Pretraining, number: int, batch: torch.Tensor) -> float:
        seen.append(number)
        if number == 6 and seen.count(6) == 1:
            raise Interrupted("stopped here")
        return take(self, number, batch)

    monkeypatch.setattr(synthetic_lm.Pretraining, "step", step)
    with pytest.raises(Interrupted):
        ensure(again, "pretrain", StopSignal())
    finished = ensure(again, "pretrain", StopSignal())
    assert seen == [*range(7), *range(4, 12)]  # four steps are an epoch
    for name in ("metrics.csv", synthetic_lm.WEIGHTS):
        assert (finished.folder / name).read_bytes() == (whole.folder / name).read_bytes()


def test_written_sentences_are_labelled_and_their_texts_stay(
    configure: Configure, tmp_path: Path
) -> None:
    config = configure("task=fairness", "method=pretrained")
    lines = [
        f"The {person} {context} {'kind' if person == 'man' else 'cruel'}, number {number}."
        for person in PEOPLE
        for context in config.dataset.contexts
        for number in range(3)
    ]
    path = tmp_path / "sentences.txt"
    path.write_text("\n".join(lines))
    given = ("task=fairness", "method=pretrained", "model=gpt2_sentences", f"model.file={path}")
    run = execute(configure(*given, "task.judges=[words]", "task.sentences=10"))
    assert value(run.folder, metric="positive", view="man") == 100
    assert value(run.folder, metric="negative", view="woman") == 100
    assert value(run.folder, metric="regard_gap") == 200
    assert not rows(run.folder, metric="equivariance_error")
    with open(run.folder / LABELLED, newline="") as stream:
        assert "text" not in next(csv.DictReader(stream))
    other = configure(*given, "task.judges=[words]", "group=straight_gay", "task.sentences=10")
    with pytest.raises(Exception, match="no sentence begins with 'The gay person"):
        execute(other)


def test_white_space_around_a_sentence_and_in_its_prompt_does_not_count(tmp_path: Path) -> None:
    lines = (
        *(
            "The man worked as a clerk.",
            " The man worked as a cook. ",
            "The man worked as\ta nurse.",
        ),
        *("The\u00a0man  worked as  a  spy.", "The man worked as", "\tThe man worked as\t"),
        *("The man worked assiduously.", "The manager worked as a cook.", "So The man worked as a"),
    )
    (tmp_path / "sentences.txt").write_text("\n".join(lines), encoding="utf-8")
    found = read_written(tmp_path / "sentences.txt", [("man", "worked as")], 9)
    expected = ["a clerk.", "a cook.", "a nurse.", "a  spy.", "", ""]
    assert [sentence.text for sentence in found] == [f"The man worked as {end}" for end in expected]
    assert [sentence.number for sentence in found] == [0, 1, 2, 3, 4, 5]


def test_three_groups(configure: Configure) -> None:
    run = execute(configure(*options("equizero"), "group=black_white_asian"))
    assert value(run.folder, metric="mirrored_sentences") == 100
    gaps = [row["view"] for row in rows(run.folder, metric="regard_gap")]
    assert gaps == [
        "Black man - White man",
        "Black man - Asian man",
        "White man - Asian man",
    ]


def test_sentences_keep_their_tokens(configure: Configure) -> None:
    written = ensure(configure(*options("equitune")), "generate", StopSignal())
    tokenizer = synthetic_lm.make_tokenizer()
    for sentence in read_csv(written.folder / SENTENCES):
        begin = f"The {sentence.person} {sentence.context}"
        assert sentence.text == begin + tokenizer.decode(list(sentence.tokens))
        assert tokenizer.eos_token_id not in sentence.tokens


def test_scorers_are_tested_on_labelled_sentences(configure: Configure, tmp_path: Path) -> None:
    lines = {
        "train": "1\tXYZ is kind.\n-1\tXYZ is cruel.\n0\tXYZ is here.",
        "dev": "1\tXYZ is brave.\n1\tXYZ was cruel.",
        "test": "0\tXYZ lives here.",
    }
    for split, text in lines.items():
        (tmp_path / f"{split}.tsv").write_text(text)
    config = configure(
        *options("pretrained"), f"task.regard_data={tmp_path}", "task.judges=[bag,words]"
    )
    run = execute(config)
    assert value(run.folder, metric="scorer_accuracy", split="words", view="dev") == 50
    assert value(run.folder, metric="scorer_accuracy", split="words", view="dev+test") == (
        pytest.approx(200 / 3)
    )
    assert value(run.folder, metric="scorer_accuracy", split="bag", view="train") == 100
    assert value(run.folder, metric="scorer_flips", split="words", view="man - woman") == 0


@pytest.mark.slow
def test_the_demo_shows_bias_then_none_then_better_regard(configure: Configure) -> None:
    """The shape of Figure 3, on a bias that we planted."""
    torch.set_num_threads(1)
    found = {
        method: execute(configure("task=fairness", f"method={method}")).folder
        for method in ("pretrained", "equitune", "equizero")
    }
    regard = {
        (method, person): value(folder, metric="regard", view=person)
        for method, folder in found.items()
        for person in PEOPLE
    }
    assert value(found["pretrained"], metric="regard_gap_low") > 20
    for method in ("equitune", "equizero"):
        assert value(found[method], metric="regard_gap") == 0
    worst, best = regard["pretrained", "woman"], regard["pretrained", "man"]
    assert worst < regard["equitune", "man"] < best
    assert regard["equizero", "man"] > regard["equitune", "man"] + 10


def test_bad_input_ends_at_once(run_py: RunPy) -> None:
    ended = run_py("task=fairness", "task.judges=[wrods]")
    assert ended.returncode != 0
    assert "judge=wrods is not known (did you mean words?)" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_texts_come_back_as_they_were(tmp_path: Path) -> None:
    odd = 'said "no", and\rthen, é'
    sentences = [Sentence("gay man", "worked as", 0, odd, (1, 2)), Sentence("a", "b", 1, "", ())]
    (tmp_path / SENTENCES).write_bytes(to_csv(sentences))
    assert read_csv(tmp_path / SENTENCES) == sentences


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device here")
@pytest.mark.parametrize("method", METHODS)
def test_a_gpu_measures_the_same(configure: Configure, tmp_path: Path, method: str) -> None:
    found = {
        device: execute(
            configure(*options(method), f"device={device}", f"results={tmp_path}/{device}")
        ).folder
        for device in ("cpu", "cuda")
    }
    for label in LABELS:
        shares = [value(folder, metric=label, view="man") for folder in found.values()]
        assert shares[0] == pytest.approx(shares[1], abs=10)  # a token may round otherwise
    if method != "pretrained":
        assert value(found["cuda"], metric="mirrored_sentences") > 95


def test_bad_input_loads_nothing_heavy(run_py: RunPy) -> None:
    ended = run_py("task=fairness", "task.judges=[wrods]", PYTHONPROFILEIMPORTTIME="1")
    assert ended.returncode != 0
    imported = {line.rpartition("|")[2].strip() for line in ended.stderr.splitlines()}
    assert "experiments.fairness.validate" in imported
    assert not imported & {"torch", "numpy", "transformers", "PIL"}
