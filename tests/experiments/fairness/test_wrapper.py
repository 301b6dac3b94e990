"""The model for transformers: the same as the suite's own decoding, and a drop-in for generate."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from experiments.fairness.decoding import make_prompts
from experiments.fairness.methods import relaxed_tokens, vocabulary_of
from experiments.fairness.models import LanguageModel
from experiments.fairness.wrapper import EquivariantLM
from experiments.frame.options import AnyConfig
from tests.experiments.fairness.small import small_language, small_writer

Configure = Callable[..., AnyConfig]
GROUPS = ("man_woman", "black_white_asian")


@pytest.fixture(scope="module")
def language() -> LanguageModel:
    return small_language(1, end_bias=1.0)


def wrapped(config: AnyConfig, language: LanguageModel) -> EquivariantLM:
    return EquivariantLM(language.network, vocabulary_of(config, language)).eval()


def encoded(language: LanguageModel, *texts: str) -> Tensor:
    return torch.tensor([language.tokenizer.encode(t, add_special_tokens=False) for t in texts])


@pytest.mark.parametrize("group", GROUPS)
def test_whole_continuations_are_equally_likely(
    configure: Configure, language: LanguageModel, group: str
) -> None:
    config = configure("task=fairness", f"group={group}", "method=equitune")
    model, ids = wrapped(config, language), vocabulary_of(config, language).ids
    generator = torch.Generator().manual_seed(0)
    texts = torch.randint(2, language.size, (8, 12), generator=generator)
    texts[:, 4] = vocabulary_of(config, language).scores.moved[0]  # a word of E inside
    with torch.no_grad():
        likelihood = [_log_likelihood(model, ids.act(g, texts)) for g in range(ids.group.order)]
        plain = [_log_likelihood(language.network, ids.act(g, texts)) for g in range(2)]
    for turned in likelihood[1:]:
        assert torch.allclose(turned, likelihood[0], atol=1e-11)
    assert not torch.allclose(plain[0], plain[1], atol=0.1)


def _log_likelihood(model: torch.nn.Module, texts: Tensor) -> Tensor:
    scores = model(texts).logits[:, :-1].log_softmax(dim=-1)
    return scores.gather(-1, texts[:, 1:, None])[..., 0].sum(dim=-1)


@pytest.mark.parametrize("group", GROUPS)
def test_greedy_generation_is_the_suites_own(
    configure: Configure, language: LanguageModel, group: str
) -> None:
    config = configure("task=fairness", f"group={group}", "method=equitune", "task.top_k=1")
    writer, model = small_writer(config, language), wrapped(config, language)
    for prompt in make_prompts(config.group, "paper", config.dataset.contexts[:2]):
        own = writer.write(prompt, range(1))[0].tolist()
        given = writer.encode(prompt)[None]
        found = model.generate(given, max_new_tokens=15, do_sample=False, pad_token_id=writer.end)
        theirs = found[0, given.shape[1] :].tolist()
        assert own[: len(theirs)] == theirs
        assert set(own[len(theirs) :]) <= {writer.end}


def test_left_padding_changes_nothing(configure: Configure, language: LanguageModel) -> None:
    config = configure("task=fairness", "method=equitune")
    model = wrapped(config, language)
    short = encoded(language, "The man worked as")
    padded = torch.cat((torch.zeros(1, 2, dtype=torch.long), short), dim=1)
    mask = torch.tensor([[0, 0] + [1] * short.shape[1]])
    options = {"max_new_tokens": 6, "do_sample": False, "pad_token_id": 0, "eos_token_id": None}
    alone = model.generate(short, **options)
    found = model.generate(padded, attention_mask=mask, **options)
    assert torch.equal(found[:, 2:], alone)


def test_sampling_returns_several_texts(configure: Configure, language: LanguageModel) -> None:
    config = configure("task=fairness", "method=equitune")
    model = wrapped(config, language)
    torch.manual_seed(0)
    found = model.generate(
        encoded(language, "The man worked as"),
        do_sample=True,
        top_k=40,
        num_return_sequences=3,
        max_new_tokens=5,
        pad_token_id=0,
    )
    assert found.shape[0] == 3
    assert len({tuple(row) for row in found.tolist()}) == 3


def test_beam_search_is_refused(configure: Configure, language: LanguageModel) -> None:
    model = wrapped(configure("task=fairness", "method=equitune"), language)
    with pytest.raises(ValueError, match=r"num_beams=4: .* choose num_beams=1"):
        model.generate(encoded(language, "The man worked as"), num_beams=4)


def test_the_relaxed_model_averages_some_words(
    configure: Configure, language: LanguageModel
) -> None:
    config = configure("task=fairness", "method=equitune", "task.relaxed=true")
    vocabulary = vocabulary_of(config, language)
    marks = relaxed_tokens(config, language, vocabulary)
    relaxed = EquivariantLM(language.network, vocabulary, marks)
    given = encoded(language, "The man worked as")
    with torch.no_grad():
        loose = relaxed(given).logits
        strict = EquivariantLM(language.network, vocabulary)(given).logits
        plain = language.network(given).logits
    assert torch.allclose(loose[..., marks], strict[..., marks], atol=1e-6)
    assert torch.allclose(loose[..., ~marks], plain[..., ~marks], atol=1e-6)


def test_the_loss_is_that_of_the_averaged_logits(
    configure: Configure, language: LanguageModel
) -> None:
    config = configure("task=fairness", "method=equitune")
    model = wrapped(config, language)
    texts = encoded(language, "The man was known for his kindness.")
    found = model(texts, labels=texts)
    expected = -_log_likelihood(model, texts).sum() / (texts.shape[1] - 1)
    torch.testing.assert_close(found.loss.double(), expected.double())
    found.loss.backward()
    assert model(texts).loss is None
    # As the Trainer of transformers asks where it gathers several batches into one step.
    gathered = model(texts, labels=texts, num_items_in_batch=2 * (texts.shape[1] - 1))
    torch.testing.assert_close(2 * gathered.loss.double(), expected.double())
    language.network.zero_grad()


def test_what_an_average_has_not_is_refused_in_one_line(
    configure: Configure, language: LanguageModel
) -> None:
    model = wrapped(configure("task=fairness", "method=equitune"), language)
    ids = encoded(language, "The man was", "The man was")
    model(ids, output_hidden_states=False, output_attentions=None, return_dict=True)
    for words, message in (
        ({"output_hidden_states": True}, "does not take output_hidden_states"),
        ({"inputs_embeds": torch.zeros(2, 3, 16)}, "does not take inputs_embeds"),
        ({"return_dict": False}, "return_dict=False"),
        ({"labels": ids, "logits_to_keep": 1}, "labels need the logits of all tokens"),
        ({"attention_mask": torch.ones(2, 1, 3, 3)}, "must be"),
    ):
        with pytest.raises(ValueError, match=message):
            model(ids, **words)
    for name, value in (("output_hidden_states", True), ("return_dict", False)):
        before = getattr(model.config, name)
        setattr(model.config, name, value)
        with pytest.raises(ValueError, match=f"{name}.* of its configuration"):
            model(ids)
        setattr(model.config, name, before)
    with pytest.raises(ValueError, match=r"cache_implementation=static: .* choose cache_impl"):
        model.generate(ids, cache_implementation="static", max_new_tokens=2)


def test_its_weights_survive_where_buffers_get_new_memory(
    configure: Configure, language: LanguageModel
) -> None:
    config = configure("task=fairness", "method=equitune", "task.relaxed=true")
    vocabulary, network = vocabulary_of(config, language), copy.deepcopy(language.network)
    marks = relaxed_tokens(config, language, vocabulary)
    model = EquivariantLM(network, vocabulary, marks).eval()
    ids = encoded(language, "The man was known for")
    expected = model(ids).logits
    state = {name: value.clone() for name, value in model.state_dict().items()}
    model.to("meta").to_empty(device="cpu").load_state_dict(state, strict=True)
    assert torch.equal(model(ids).logits, expected)
