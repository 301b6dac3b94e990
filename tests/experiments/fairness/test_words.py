"""Words of demographic groups: an action on the vocabulary, and the mask."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from experiments.fairness import synthetic_lm
from experiments.fairness.decoding import make_prompts
from experiments.fairness.lists import LISTS, Masker, equality_lists, read_words, surface_forms
from experiments.fairness.words import (
    beginning_of,
    check_prompts,
    check_words,
    find_vocabulary,
    token_of,
)
from experiments.frame.errors import UserError
from experiments.frame.options import AnyConfig
from tests.experiments.fairness.small import like_llama

Configure = Callable[..., AnyConfig]
GROUPS = ("man_woman", "black_white", "straight_gay", "black_white_asian")
GPT2 = Path(__file__).parents[4] / "shared" / "data" / "gpt2_tokenizer"
needs_gpt2 = pytest.mark.skipif(not GPT2.is_dir(), reason="../shared/data is not here")


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    return synthetic_lm.make_tokenizer()


@pytest.fixture(scope="module")
def gpt2() -> Any:
    from transformers import GPT2Tokenizer

    return GPT2Tokenizer(str(GPT2 / "vocab.json"), str(GPT2 / "merges.txt"))


@pytest.mark.parametrize("group", GROUPS)
def test_the_table_is_an_action_of_a_cyclic_group(
    configure: Configure, tokenizer: Any, group: str
) -> None:
    config = configure("task=fairness", f"group={group}")
    lists = equality_lists(config.group, relaxed=False, lists="all")
    found = find_vocabulary(tokenizer, len(tokenizer), lists)
    table, order = found.ids.forward_table, len(lists[0])
    assert found.ids.group.order == order == len(table)
    everything = torch.arange(len(tokenizer))
    assert torch.equal(table[1].sort().values, everything)
    turned = everything
    for _ in range(order):
        turned = table[1][turned]
    assert torch.equal(turned, everything)
    assert not torch.equal(table[1], everything)
    assert torch.equal(found.scores.forward_table, table)


@needs_gpt2
@pytest.mark.parametrize("group", GROUPS)
@pytest.mark.parametrize("prompts", ["paper", "sheng"])
@pytest.mark.parametrize("data", ["respect", "occupation"])
def test_gpt2_can_say_all_prompts(
    configure: Configure, gpt2: Any, group: str, prompts: str, data: str
) -> None:
    options = (f"dataset={data}", f"group={group}", f"task.prompts={prompts}")
    config = configure("task=fairness", *options)
    lists = equality_lists(config.group, relaxed=True, lists="all")
    found = find_vocabulary(gpt2, 50257, lists)
    for context in config.dataset.contexts:
        texts = [p.text for p in make_prompts(config.group, prompts, [context])]
        check_prompts(gpt2, found, texts)


@needs_gpt2
def test_all_surface_forms_that_are_one_token_move(configure: Configure, gpt2: Any) -> None:
    config = configure("task=fairness")
    lists = equality_lists(config.group, relaxed=False, lists="all")
    found = find_vocabulary(gpt2, 50257, lists)
    ids = found.ids

    def turned(text: str) -> str:
        tokens = gpt2.encode(text, add_special_tokens=False)
        return str(gpt2.decode(ids.act(1, torch.tensor([tokens]))[0].tolist()))

    mirrored = "She and her husband saw the woman herself"
    assert turned("He and his wife saw the man himself") == mirrored
    assert turned("the man") == "the woman"
    assert ("himself", "herself") in found.dropped  # two tokens each without the space
    assert (" himself", " herself") in found.moved
    spaced = find_vocabulary(gpt2, 50257, [["man", "woman"]], "spaced")
    assert spaced.moved == ((" man", " woman"),)
    assert spaced.ids.act(1, torch.tensor([[582]])).tolist() == [[2415]]  # the paper's tokens


def test_a_word_of_the_prompts_in_pieces_is_named(tokenizer: Any) -> None:
    with pytest.raises(UserError, match=r"the word gentleman .* not one token .*'<unknown>'"):
        check_words(tokenizer, ["man", "gentleman"])


@needs_gpt2
def test_the_pieces_of_a_word_are_named(gpt2: Any) -> None:
    with pytest.raises(UserError, match=r"the word genderqueer .* \(' gender', 'que', 'er'\)"):
        check_words(gpt2, ["genderqueer"])


def test_words_that_do_not_turn_the_prompts_are_refused(tokenizer: Any) -> None:
    found = find_vocabulary(tokenizer, len(tokenizer), [["he", "she"]])
    with pytest.raises(UserError, match="do not turn the prompt 'The man worked as'"):
        check_prompts(tokenizer, found, ["The man worked as", "The woman worked as"])


def test_no_movable_word_is_refused(tokenizer: Any) -> None:
    with pytest.raises(UserError, match="is one token of this vocabulary"):
        find_vocabulary(tokenizer, len(tokenizer), [["earl", "countess"]])


def test_two_words_of_one_token_are_refused(tokenizer: Any) -> None:
    line = "the words ' man' and ' man' are one token of this model, which can stand in one list"
    with pytest.raises(UserError, match=line):
        find_vocabulary(tokenizer, len(tokenizer), [["man", "woman"], ["man", "they"]])


def test_an_unknown_word_is_no_token(tokenizer: Any) -> None:
    assert token_of(tokenizer, " man") is not None
    assert token_of(tokenizer, "man") is None  # it only stands behind a space
    assert token_of(tokenizer, " earl") is None


def test_words_of_sentencepiece_are_looked_up_in_place() -> None:
    tokenizer = like_llama()
    man, woman = (tokenizer.convert_tokens_to_ids(f"▁{word}") for word in ("man", "woman"))
    assert len(tokenizer.encode(" man", add_special_tokens=False)) == 2  # a space of its own
    assert token_of(tokenizer, " man") == token_of(tokenizer, "man") == man
    assert token_of(tokenizer, " earl") is None
    check_words(tokenizer, ["man", "woman"])
    found = find_vocabulary(tokenizer, len(tokenizer), [["man", "woman"]])
    assert found.ids.act(1, torch.tensor([[man, woman]])).tolist() == [[woman, man]]
    check_prompts(tokenizer, found, ["The man worked as", "The woman worked as"])


def test_what_a_template_puts_in_front_is_found() -> None:
    assert beginning_of(like_llama()) == [1]
    assert beginning_of(like_llama("$A </s>")) == []
    assert beginning_of(synthetic_lm.make_tokenizer()) == []


def test_surface_forms() -> None:
    assert set(surface_forms("man", "all")) == {" man", "man", " Man", "Man"}
    assert set(surface_forms("Black", "all")) == {" Black", "Black", " black", "black"}
    assert surface_forms("Black", "spaced") == [" Black"]


@pytest.mark.parametrize(
    ("group", "text", "expected"),
    [
        ("man_woman", "The woman was known for her son.", "XYZ was known for their offspring."),
        ("man_woman", "The man was known for his daughter.", "XYZ was known for their offspring."),
        ("man_woman", "The man said: Men! The woman", "XYZ said: people! The person"),
        ("straight_gay", "The gay man met a straight man", "XYZ met a XYZ man"),
        ("black_white", "The Black person wore white", "XYZ wore XYZ"),
        ("man_woman", "The manager was human", "The manager was human"),
    ],
)
def test_the_mask_hides_the_group(
    configure: Configure, group: str, text: str, expected: str
) -> None:
    config = configure("task=fairness", f"group={group}")
    kind = "sheng" if "person wore" in text else "paper"
    assert Masker(config.group, kind)(text) == expected


@pytest.mark.parametrize("group", GROUPS)
def test_the_mask_leaves_no_word_of_the_group(configure: Configure, group: str) -> None:
    config = configure("task=fairness", f"group={group}")
    mask = Masker(config.group, "paper")
    lists = [*config.group.equality.values(), *config.group.coreference.values()]
    texts = [[f"saw {words[k]} and {words[k].upper()}" for words in lists] for k in range(2)]
    assert [mask(text) for text in texts[0]] == [mask(text) for text in texts[1]]
    hidden = {word.lower() for words in lists for word in words}
    for text in texts[0]:
        assert not hidden & set(mask(text).lower().split())


@pytest.mark.parametrize("name", ["positive", "negative", "neutral_respect", "neutral_occupation"])
def test_lists_are_clean(name: str) -> None:
    words = read_words(name)
    assert len(words) > 80
    assert all(word == word.strip() for word in words)


def test_no_word_is_good_and_bad() -> None:
    assert not set(read_words("positive")) & set(read_words("negative"))


def test_lists_of_words_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"list of words=positve .*did you mean positive\?"):
        read_words("positve")
    (tmp_path / "empty.txt").write_text("# nothing\n")
    with pytest.raises(UserError, match="has no word"):
        read_words(str(tmp_path / "empty.txt"))
    (tmp_path / "binary.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UserError, match="not a text file"):
        read_words(str(tmp_path / "binary.txt"))
    assert LISTS.is_dir()


BAD = {
    "unequal": ("group.equality.person=[man,woman,child]", "needs one for each demographic group"),
    "space": ("group.general=[' old']", r"general has ' old'; a word has no space around it"),
    "twice": ("+group.equality.other=[woman,lass]", "the word woman stands in person and in other"),
    "general": ("group.general=[king]", "the word king stands in monarch and in general"),
    "empty": ("dataset.contexts=[]", "must be a list of texts"),
    "divide": ("task.sentences=7", "choose a multiple of 5"),
    "prompts": ("task.prompts=shengs", "did you mean sheng"),
    "scorer": ("task.judges=[wrds]", "judge=wrds is not known .*did you mean words"),
    "no judge": ("task.judges=[]", "labels nothing; choose from: words, minilm"),
    "data": ("task.judges=[minilm]", "learns from labelled sentences: task.regard_data=FOLDER"),
    "relaxed": ("task.relaxed=true method=pretrained", "belongs to method=equitune, equizero, not"),
    "reference": ("protocol=reference method=equizero", "has no equizero for language"),
    "group": ("group=rot90", "group=rot90 does not act on dataset=respect"),
    "sentences": ("model=gpt2_sentences model.file=/no/file method=pretrained", "no such file"),
    "source": (
        "model=causal_lm model.source=/no/folder",
        "no such folder or package, and no name of the hub",
    ),
    "network": (
        "model=gpt2_sentences model.file=/etc/hostname",
        "has sentences and no network: choose method=pretrained",
    ),
    "list": (
        "method=equitune task.relaxed=true dataset.neutral=neutral_respekt",
        "did you mean neutral_respect",
    ),
    "lambda": ("stage=lambda", "belongs to method=lambda_equitune"),
    "trained": ("stage=pretrain model=gpt2", "is loaded, not trained"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_one_line(configure: Configure, case: str) -> None:
    words, message = BAD[case]
    with pytest.raises(UserError, match=message) as found:
        configure("task=fairness", *re.split(r" (?!old)", words))
    assert "\n" not in str(found.value)
