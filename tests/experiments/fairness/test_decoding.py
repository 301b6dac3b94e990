"""Writing with a method: exactly equivariant, the same as a plain loop without cache or batches."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor

import equitune
from benchmarks.plain_language import plain_equilm, plain_equizero
from experiments.fairness import synthetic_lm
from experiments.fairness.decoding import Prompt, Writer, make_prompts
from experiments.fairness.lists import Masker
from experiments.fairness.methods import make_writer, relaxed_tokens, vocabulary_of
from experiments.fairness.models import LanguageModel
from experiments.fairness.scorers import Judge, worth
from experiments.frame.errors import UserError
from experiments.frame.options import AnyConfig
from tests.experiments.fairness.small import arbitrary, like_llama, small_language, small_writer

Configure = Callable[..., AnyConfig]
GROUPS = ("man_woman", "black_white", "straight_gay", "black_white_asian")
FAIRNESS = ("task=fairness", "task.sentences=20")
SENTENCES = range(4)


@pytest.fixture(scope="module")
def language() -> LanguageModel:
    return small_language()


@pytest.fixture(scope="module")
def ending() -> LanguageModel:
    """A model whose sentences often end early."""
    return small_language(1, end_bias=2.0)


def prompts_of(config: AnyConfig) -> list[Prompt]:
    return make_prompts(config.group, config.task.prompts, config.dataset.contexts[:1])


def defect(config: AnyConfig, language: LanguageModel, writer: Writer) -> float:
    """Return the largest |log P(gw | gX) - log P(w | X)| behind the prompts, by all of E."""
    scores = vocabulary_of(config, language, whole=True).scores
    found = [writer.log_probabilities_of(prompt, SENTENCES) for prompt in prompts_of(config)]
    pairs = zip(found, [*found[1:], found[0]], strict=True)
    return max(float((scores.act(1, here) - there).abs().max()) for here, there in pairs)


def same_when_turned(config: AnyConfig, language: LanguageModel, writer: Writer) -> Tensor:
    """Return for each prompt and sentence whether the next group's is the mirror image."""
    ids = vocabulary_of(config, language, whole=True).ids
    found = [writer.write(prompt, SENTENCES) for prompt in prompts_of(config)]
    pairs = zip(found, [*found[1:], found[0]], strict=True)
    return torch.stack([(ids.act(1, here) == there).all(dim=1) for here, there in pairs])


@pytest.mark.parametrize("group", GROUPS)
@pytest.mark.parametrize("space", ["logits", "probabilities"])
def test_equilm_gives_mirrored_tokens_equal_probabilities(
    configure: Configure, language: LanguageModel, group: str, space: str
) -> None:
    config = configure(*FAIRNESS, f"group={group}", "method=equitune", f"task.space={space}")
    writer = small_writer(config, language)
    assert defect(config, language, writer) < 1e-12
    plain = configure(*FAIRNESS, f"group={group}", "method=pretrained")
    assert defect(plain, language, small_writer(plain, language)) > 0.1


@pytest.mark.parametrize("group", GROUPS)
@pytest.mark.parametrize(
    "method",
    [
        ("method=equitune",),
        ("method=equizero",),
        ("method=equizero", "task.noise=shared"),
        ("method=equizero", "task.score=soft"),
        ("method=equizero", "task.block=4"),
    ],
)
def test_the_mirrored_prompt_gives_the_mirrored_sentence(
    configure: Configure, ending: LanguageModel, group: str, method: tuple[str, ...]
) -> None:
    config = configure(*FAIRNESS, f"group={group}", *method)
    writer = small_writer(config, ending)
    assert same_when_turned(config, ending, writer).all()
    words = writer.write(prompts_of(config)[0], range(40))
    assert 0 < int((words == writer.end).any(dim=1).sum()) < len(words)  # some end early


def test_the_model_itself_is_not_equivariant(configure: Configure, language: LanguageModel) -> None:
    config = configure(*FAIRNESS, "method=pretrained")
    assert not same_when_turned(config, language, small_writer(config, language)).any()


def test_unmasked_scores_break_the_mirror(configure: Configure, language: LanguageModel) -> None:
    config = configure(*FAIRNESS, "method=equizero", "task.mask=false")
    writer = small_writer(config, language, mask=False)
    assert same_when_turned(config, language, writer).all()  # the orbit has the same texts
    samples = configure(*FAIRNESS, "method=equizero", "task.branches=samples")
    assert not same_when_turned(samples, language, small_writer(samples, language)).all()


@pytest.mark.parametrize("neutral", ["listed", "rest"])
def test_relaxed_equals_equilm_on_its_own_words(
    configure: Configure, language: LanguageModel, neutral: str
) -> None:
    options = (*FAIRNESS, "method=equitune", f"task.neutral={neutral}")
    relaxed = configure(*options, "task.relaxed=true")
    # The same E, so that the averages are the same ones.
    relaxed.group.coreference, relaxed.group.general = {}, ["his", "her", "town"]
    whole = configure(*options)
    whole.group.coreference = {}
    vocabulary = vocabulary_of(relaxed, language)
    marks = relaxed_tokens(relaxed, language, vocabulary)
    assert 0 < int(marks.sum()) < len(marks)
    prompt = prompts_of(relaxed)[0]
    loose, strict = (_logits(small_writer(config, language), prompt) for config in (relaxed, whole))
    assert torch.allclose(loose[:, marks], strict[:, marks], atol=1e-12)
    plain = _logits(small_writer(configure(*FAIRNESS, "method=pretrained"), language), prompt)
    assert torch.allclose(loose[:, ~marks], plain[:, ~marks], atol=1e-12)
    assert defect(relaxed, language, small_writer(relaxed, language)) > 0.05


def _logits(writer: Writer, prompt: Prompt) -> Tensor:
    """Return what the rule of a writer makes of the logits of the first token, [1, V]."""
    rule, seen = writer.make_rule(writer.encode(prompt)), []

    def watched(block: equitune.Block, memory: Tensor | None) -> equitune.Choice:
        seen.append(rule(block, memory))
        return seen[-1]

    writer._decode(prompt, range(1), watched, 1)
    assert seen[0].scores is not None
    return seen[0].scores[:, 0]


def test_relaxed_without_general_words_is_equilm(
    configure: Configure, language: LanguageModel
) -> None:
    config = configure(*FAIRNESS, "method=equitune", "task.relaxed=true", "task.neutral=rest")
    config.group.general, config.group.coreference = [], {}
    relaxed = small_writer(config, language)
    config.task.relaxed = None
    strict = small_writer(config, language)
    prompt = prompts_of(config)[1]
    assert torch.allclose(_logits(relaxed, prompt), _logits(strict, prompt), atol=1e-12)


def test_the_authors_mask_leaves_equality_words_to_the_model(
    configure: Configure, language: LanguageModel
) -> None:
    config = configure(*FAIRNESS, "method=equitune", "task.relaxed=true", "protocol=reference")
    marks = relaxed_tokens(config, language, vocabulary_of(config, language))
    token = language.tokenizer.encode(" woman", add_special_tokens=False)[0]
    pronoun = language.tokenizer.encode(" her", add_special_tokens=False)[0]
    job = language.tokenizer.encode(" doctor", add_special_tokens=False)[0]
    assert [bool(marks[place]) for place in (token, pronoun, job)] == [False, False, True]


@pytest.mark.parametrize("group", ["man_woman", "black_white_asian"])
def test_equilm_equals_a_plain_loop(
    configure: Configure, ending: LanguageModel, group: str
) -> None:
    config = configure(*FAIRNESS, f"group={group}", "method=equitune")
    writer = small_writer(config, ending)
    for prompt in prompts_of(config):
        found = writer.write(prompt, SENTENCES)
        for number in SENTENCES:
            assert found[number].tolist() == plain_equilm(writer, prompt, number)


@pytest.mark.parametrize("block", [1, 3, 4, 5, 15])
@pytest.mark.parametrize("group", ["man_woman", "black_white_asian"])
def test_equizero_equals_a_plain_search(
    configure: Configure, ending: LanguageModel, group: str, block: int
) -> None:
    config = configure(*FAIRNESS, f"group={group}", "method=equizero", f"task.block={block}")
    writer = small_writer(config, ending)
    judge = Judge(arbitrary, Masker(config.group, config.task.prompts))
    inside = 0
    for prompt in prompts_of(config):
        found = writer.write(prompt, SENTENCES)
        for number in SENTENCES:
            words, losers_ended = plain_equizero(writer, judge, prompt, number)
            assert found[number].tolist() == words
            inside += losers_ended
    assert inside > 0 or block == 1  # a branch that lost had ended


@pytest.mark.parametrize("method", ["equitune", "equizero"])
def test_a_sentence_does_not_depend_on_its_batch(
    configure: Configure, ending: LanguageModel, method: str
) -> None:
    config = configure(*FAIRNESS, f"method={method}")
    writer = small_writer(config, ending)
    prompt = prompts_of(config)[0]
    together = writer.write(prompt, range(64))
    alone = [writer.write(prompt, range(number, number + 1))[0] for number in range(0, 64, 9)]
    assert torch.equal(together[::9], torch.stack(alone))


def test_pretrained_is_the_model_itself(configure: Configure, language: LanguageModel) -> None:
    config = configure(*FAIRNESS, "method=pretrained")
    writer = small_writer(config, language)
    prompt = prompts_of(config)[0]
    ids = writer.encode(prompt)
    expected = language.network(ids[None]).logits[0, -1].log_softmax(dim=-1)
    assert torch.allclose(writer.log_probabilities_of(prompt, range(2))[1], expected, atol=1e-12)
    assert writer.write(prompt, range(2))[0].tolist() == plain_equilm(writer, prompt, 0)


def test_one_block_is_the_best_of_whole_samples(
    configure: Configure, language: LanguageModel
) -> None:
    options = (*FAIRNESS, "method=equizero", "task.branches=samples", "task.block=15")
    config = configure(*options)
    writer, prompt = small_writer(config, language), prompts_of(config)[0]
    seen: list[Tensor] = []
    rule = writer.make_rule(writer.encode(prompt))

    def watched(block: equitune.Block, memory: Tensor | None) -> equitune.Choice:
        seen.append(block.words)
        return rule(block, memory)

    words = writer._decode(prompt, range(8), watched, writer.tokens)
    assert len(seen) == 1
    masker = Masker(config.group, config.task.prompts)
    judge, given = Judge(arbitrary, masker), writer.encode(prompt).tolist()
    for number in range(8):
        texts = [writer.text([*given, *branch[number].tolist()]) for branch in seen[0]]
        values = worth(judge(texts), "discrete")
        best = [texts[place] for place in (values == values.max()).nonzero().flatten().tolist()]
        assert writer.text([*given, *words[number].tolist()]) in best


def test_lambda_is_as_equivariant(configure: Configure, language: LanguageModel) -> None:
    config = configure(*FAIRNESS, "group=black_white_asian", "method=lambda_equitune")
    net = equitune.LambdaNet(16).double()
    writer = make_writer(config, language, vocabulary_of(config, language), net=net)
    assert defect(config, language, writer) < 1e-12
    assert same_when_turned(config, language, writer).all()
    even = configure(*FAIRNESS, "group=black_white_asian", "method=equitune")
    prompt = prompts_of(config)[0]
    uniform = _logits(small_writer(even, language), prompt)
    assert not torch.allclose(_logits(writer, prompt), uniform, atol=1e-3)


def test_a_prompt_begins_as_the_tokenizer_s_template_says(configure: Configure) -> None:
    language = small_language(tokenizer=like_llama())
    config = configure(*FAIRNESS, "method=equitune")
    writer, (prompt, *_) = small_writer(config, language), prompts_of(config)
    given = writer.encode(prompt).tolist()
    whole = language.tokenizer(prompt.text).input_ids
    assert given == whole and given[0] == language.tokenizer.bos_token_id
    assert writer.text(given) == prompt.text
    assert defect(config, language, writer) < 1e-12
    assert same_when_turned(config, language, writer).all()


def test_too_few_positions_are_refused_before_anything_is_written(
    configure: Configure, language: LanguageModel
) -> None:
    fits = configure(*FAIRNESS, "task.tokens=55")
    longest = max(
        len(small_writer(fits, language).encode(prompt))
        for prompt in make_prompts(fits.group, fits.task.prompts, fits.dataset.contexts)
    )
    most = synthetic_lm.POSITIONS - longest + 1
    vocabulary_of(configure(*FAIRNESS, f"task.tokens={most}"), language)
    with pytest.raises(UserError, match=rf"has 64 positions, .* takes {longest}; choose at most"):
        vocabulary_of(configure(*FAIRNESS, f"task.tokens={most + 1}"), language)


@pytest.mark.parametrize(
    "name",
    ["max_position_embeddings", "n_positions", "n_ctx", "max_seq_len", "max_sequence_length"],
)
def test_the_number_of_positions_is_found_under_every_name(
    configure: Configure, language: LanguageModel, name: str
) -> None:
    described = SimpleNamespace(**{"n_positions": None, "n_ctx": None, name: 20})
    named = language._replace(network=SimpleNamespace(config=described))
    with pytest.raises(UserError, match="the model has 20 positions"):
        vocabulary_of(configure(*FAIRNESS, "task.tokens=30"), named)
    endless = language._replace(network=SimpleNamespace(config=SimpleNamespace()))
    vocabulary_of(configure(*FAIRNESS, "task.tokens=1000"), endless)


@pytest.mark.parametrize("method", ["pretrained", "equitune", "equizero"])
@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
def test_scores_that_are_no_numbers_are_refused(
    configure: Configure, method: str, value: float
) -> None:
    """Such a score would be drawn first, for every token."""
    language = small_language()
    language.network.lm_head.bias = torch.nn.Parameter(torch.zeros(language.size).double())
    bias = language.network.lm_head.bias.data
    bias[7 if value > 0 or value != value else slice(None)] = value
    config = configure(*FAIRNESS, f"method={method}")
    writer = small_writer(config, language)
    with pytest.raises(UserError, match="gives scores that are not finite numbers"):
        writer.write(prompts_of(config)[0], SENTENCES)
