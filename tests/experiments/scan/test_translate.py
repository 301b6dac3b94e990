"""SCAN's protocols against a plain transcription of the authors' procedure; learned weights."""

from __future__ import annotations

import copy
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

import equitune
from experiments.frame.errors import UserError
from experiments.frame.options import AnyConfig, LambdaNetConfig
from experiments.scan.data import EOS, SOS, Corpus, load_data, word_actions
from experiments.scan.nets.model import Seq2Seq
from experiments.scan.options import ScanGroup, load_group
from experiments.scan.train_lambda import (
    collect_views,
    fit_soft_choice,
    held_out_gain,
    negative_log_likelihood,
    train_lambda,
)
from experiments.scan.translate import (
    CommandWeights,
    accuracy,
    branch_losses,
    correct,
    equivariance_error,
    lengths,
    passes,
    translate,
    translate_plain,
    translator,
)
from tests.experiments.test_lambdas import RUN

VERB = load_group("verb")
OPTIONS = {
    "reference": (),
    "paper": ("protocol=paper",),
    "step": ("protocol=paper", "task.selection=step"),
    "prefix": ("protocol=paper", "task.selection=prefix"),
    "apart probabilities": ("task.space=probabilities",),
    "emitted": ("task.score=emitted",),
    "logits": ("task.space=logits",),
}


@pytest.fixture(scope="module")
def model() -> Seq2Seq:
    """A random model, sharpened so that its words vary, that ends now and then."""
    with torch.random.fork_rng():
        torch.manual_seed(1)
        net = Seq2Seq("GRU", hidden=16).eval()
        for weight in net.parameters():
            weight.data.mul_(3.0)
        net.decoder.out.bias.data[EOS] += 3.0
    return net


@pytest.fixture(scope="module")
def corpus() -> Corpus:
    """Up to twenty commands of each of three lengths; a length is a batch."""
    drawn = load_data("add_jump", 0, max_commands=300).test
    found = [[i for i, each in enumerate(drawn.commands) if len(each) == n] for n in (6, 8, 10)]
    assert all(len(rows) >= 10 for rows in found)
    return drawn.take(np.array([row for rows in found for row in rows[:20]]))


def branches(model: Seq2Seq, command: list[int]) -> tuple[Tensor, list[int]]:
    """Decode both branches of one command by a plain loop: [2, 50, 8] carried back, lengths."""
    actions = word_actions(VERB)
    arrays, lengths = torch.zeros(2, 50, 8), []
    for g, words in enumerate(actions.commands.orbit(torch.tensor([command]))):
        state, word = model.encode(words), torch.tensor([SOS])
        for step in range(50):
            log_probs, state = model.step(state, word)
            arrays[g, step] = log_probs[0]
            word = log_probs.argmax(dim=1)
            if int(word) == EOS:
                break
        lengths.append(step + 1)
    return actions.distributions.undo(arrays[:, None])[:, 0], lengths


def cut(words: list[int]) -> list[int]:
    stop = words.index(EOS) if EOS in words else len(words)
    return words[:stop] + [EOS] * (50 - stop)


def transcribed_equitune(model: Seq2Seq, command: list[int]) -> list[int]:
    """Mean of the two log-probability arrays, zeros after the end, argmax per row."""
    arrays, _ = branches(model, command)
    return cut(arrays.mean(dim=0).argmax(dim=1).tolist())


def transcribed_equizero(model: Seq2Seq, command: list[int], padded: bool) -> list[int]:
    """The branch whose mean of row maxima of softmax is largest; over 50 rows, or up to the end."""
    arrays, lengths = branches(model, command)
    maxima = arrays.softmax(dim=-1).amax(dim=-1)
    scores = [m.mean() if padded else m[:n].mean() for m, n in zip(maxima, lengths, strict=True)]
    best = int(torch.stack(scores).argmax())
    return cut(arrays[best, : lengths[best]].argmax(dim=1).tolist() + [EOS] * (50 - lengths[best]))


@pytest.mark.parametrize(
    ("method", "options"),
    [("equitune", ()), ("equizero", ()), ("equizero", ("task.score=emitted",))],
)
@torch.no_grad()
def test_the_reference_protocol_is_what_the_authors_code_does(
    configure: Callable[..., AnyConfig],
    model: Seq2Seq,
    corpus: Corpus,
    method: str,
    options: tuple[str, ...],
) -> None:
    config = configure(f"method={method}", *options)
    found = translate(translator(model, VERB, method, config.task), corpus)
    expected = [
        transcribed_equitune(model, command)
        if method == "equitune"
        else transcribed_equizero(model, command, padded=not options)
        for command in corpus.commands
    ]
    assert found.tolist() == expected
    lengths = (found != EOS).sum(dim=1)
    assert len(lengths.unique()) > 3  # not all alike


@torch.no_grad()
def test_padded_and_emitted_scores_choose_differently(model: Seq2Seq, corpus: Corpus) -> None:
    differ = [
        transcribed_equizero(model, command, True) != transcribed_equizero(model, command, False)
        for command in corpus.commands
    ]
    assert any(differ)


@pytest.mark.parametrize("method", ["equitune", "equizero", "lambda_equitune"])
@pytest.mark.parametrize("options", OPTIONS)
def test_every_option_is_equivariant_and_the_plain_model_is_not(
    configure: Callable[..., AnyConfig], model: Seq2Seq, corpus: Corpus, method: str, options: str
) -> None:
    task = configure(f"method={method}", *OPTIONS[options]).task
    torch.manual_seed(0)
    learned = method == "lambda_equitune"
    net = CommandWeights(model, equitune.LambdaNet(32)) if learned else None
    equivariant = translator(model, VERB, method, task, net)
    actions = word_actions(VERB)
    assert equivariance_error(equivariant, actions, corpus) == 0.0
    plain = translator(model, ScanGroup("trivial"), "pretrained", task)
    assert equivariance_error(plain, actions, corpus) > 0.2


@pytest.mark.parametrize("options", ["reference", "emitted", "paper", "logits"])
def test_a_soft_choice_is_equizero_when_cold_and_equitune_when_hot(
    configure: Callable[..., AnyConfig], model: Seq2Seq, corpus: Corpus, options: str
) -> None:
    task = configure("method=soft_equizero", *OPTIONS[options]).task
    assert task.coupling is None and task.selection is None

    def soft(temperature: float) -> Tensor:
        chosen = translator(model, VERB, "soft_equizero", task, temperature=temperature)
        assert equivariance_error(chosen, word_actions(VERB), corpus) == 0.0
        return translate(chosen, corpus)

    zero = configure("method=equizero", *OPTIONS[options]).task
    cold = translate(translator(model, VERB, "equizero", zero), corpus)
    mean = configure("method=equitune", *OPTIONS[options], "task.coupling=apart").task
    hot = translate(translator(model, VERB, "equitune", mean), corpus)
    assert torch.equal(soft(1e-30), cold) and torch.equal(soft(1e30), hot)
    assert not torch.equal(cold, hot)


@torch.no_grad()
def test_branch_losses_are_those_of_the_sequences_that_branches_write(
    configure: Callable[..., AnyConfig], model: Seq2Seq, corpus: Corpus
) -> None:
    for options in ((), ("task.score=emitted",)):
        task = configure("method=soft_equizero", *options).task
        losses = branch_losses(model, VERB, task, corpus)
        for row in (0, 11, 42):
            arrays, ends = branches(model, corpus.commands[row])
            largest = arrays.softmax(dim=-1).amax(dim=-1)
            steps = [50, 50] if not options else ends
            for g, (maxima, end) in enumerate(zip(largest, steps, strict=True)):
                assert float(losses[g, row]) == pytest.approx(-float(maxima[:end].mean()), abs=1e-5)


def test_the_temperature_is_the_likeliest_of_half_of_the_pairs(
    model: Seq2Seq, corpus: Corpus
) -> None:
    """One view is right and surer: a cold choice is likeliest where that always holds."""
    views = collect_views(model, corpus, word_actions(VERB))
    truth = views.targets.expand(2, -1, -1)[..., None]
    right = torch.full_like(views.log_probs, -6.0).scatter(-1, truth, 0.0)
    wrong = torch.full_like(views.log_probs, -2.0)
    torch.manual_seed(1)
    good = torch.rand(len(corpus)) < 0.5
    first = torch.stack((good, ~good))
    planted = torch.where(first[..., None, None], right, wrong).log_softmax(-1)
    views = views._replace(log_probs=planted)
    sure = torch.where(first, -0.9, -0.6)
    cold, gain = fit_soft_choice(views, sure, "probabilities", seed=0)
    assert cold < 0.1 and 0 < gain.gain_low < gain.gain and gain.learned < gain.uniform
    hot, gain = fit_soft_choice(views, -1.5 - sure, "probabilities", seed=0)
    assert hot > 10 and gain.gain == pytest.approx(0, abs=0.1)
    assert fit_soft_choice(views, sure, "probabilities", seed=0)[0] == cold


PASSES = {"pretrained": 1, "equitune": 4, "equizero": 4, "soft_equizero": 4, "lambda_equitune": 4}


@pytest.mark.parametrize("method", PASSES)
@pytest.mark.parametrize("options", ["reference", "paper"])
def test_passes_are_those_of_the_encoder(
    configure: Callable[..., AnyConfig], model: Seq2Seq, corpus: Corpus, method: str, options: str
) -> None:
    group = load_group("trivial" if method == "pretrained" else "verb4")
    task = configure(f"method={method}", *OPTIONS[options]).task
    net, command = equitune.LambdaNet(32), torch.tensor(corpus.commands[:1])
    for encoder, extra in ((model, 0), (copy.deepcopy(model), 4)):
        weigh = CommandWeights(encoder, net) if method == "lambda_equitune" else None
        chosen = translator(model, group, method, task, weigh, temperature=1.0)
        seen: list[int] = []
        hooks = [
            each.encoder.embedding.register_forward_hook(
                lambda module, given, out, seen=seen: seen.append(len(out))
            )
            for each in {model, encoder}
        ]
        found = passes(chosen, command)
        for hook in hooks:
            hook.remove()
        # A fine-tuned model's lambda reads the encoder of the pretrained one.
        expected = PASSES[method] + (extra if method == "lambda_equitune" else 0)
        assert found == sum(seen) == expected


def test_logits_and_log_probabilities_choose_the_same_words(
    configure: Callable[..., AnyConfig], model: Seq2Seq, corpus: Corpus
) -> None:
    found = []
    for space in ("logits", "log_probabilities", "probabilities"):
        task = configure("method=equitune", f"task.space={space}").task
        found.append(translate(translator(model, VERB, "equitune", task), corpus))
    assert torch.equal(found[0], found[1])
    assert not torch.equal(found[0], found[2])


def test_exact_match_needs_every_word_and_the_end(model: Seq2Seq) -> None:
    corpus = Corpus([[2, EOS]] * 4, [[5, 5, EOS]] * 4)
    words = torch.full((4, 50), EOS)
    words[0, :2] = 5  # right
    words[1, :1] = 5  # too short
    words[2, :3] = 5  # too long
    words[3] = 5  # never ends
    assert correct(words, corpus).tolist() == [True, False, False, False]
    assert accuracy(words, corpus) == 0.25


@torch.no_grad()
def test_translating_alone_or_in_a_batch_is_the_same(model: Seq2Seq, corpus: Corpus) -> None:
    together = translate_plain(model, corpus)
    for row in range(0, len(corpus), 13):
        alone = translate_plain(model, corpus.take(np.array([row])))
        assert torch.equal(alone[0], together[row])


def test_weights_of_a_corpus_are_those_of_its_commands_one_by_one(
    model: Seq2Seq, corpus: Corpus
) -> None:
    torch.manual_seed(0)
    weigh, actions = CommandWeights(model, equitune.LambdaNet(32)), word_actions(VERB)
    weights = weigh.of_corpus(corpus, actions)
    assert weights.shape == (2, len(corpus))
    for row in (0, 17, len(corpus) - 1):
        orbit = actions.commands.orbit(torch.tensor([corpus.commands[row]]))
        for g in range(2):
            torch.testing.assert_close(weights[g, row], weigh(orbit[g])[0])


def test_lengths_count_the_end_and_tell_where_there_is_none() -> None:
    words = torch.full((3, 6), EOS)
    words[0, :2] = 4
    words[1] = 4
    assert lengths(words).tolist() == [3, 7, 1]


def settings(**changes: object) -> LambdaNetConfig:
    values = {"hidden": 16, "depth": 2, "dropout": 0.0, "positive": "softplus", "steps": 150}
    values |= {"learning_rate": 1e-2, "weight_decay": 0.0, "batch_size": 32, **changes}
    return LambdaNetConfig(**values)  # type: ignore[arg-type]


@pytest.mark.parametrize("space", ["probabilities", "log_probabilities"])
def test_lambda_learns_which_view_the_model_understands(model: Seq2Seq, space: str) -> None:
    """One view is right where a feature is positive, the other where it is negative."""
    corpus = load_data("add_jump", 0, max_commands=400).test
    views = collect_views(model, corpus, word_actions(VERB))
    torch.manual_seed(1)
    good = torch.rand(len(corpus)) < 0.5
    right = torch.full_like(views.log_probs, -6.0).scatter(
        -1, views.targets.expand(2, -1, -1)[..., None], 0.0
    )
    wrong = torch.full_like(views.log_probs, -2.0)
    planted = torch.where(torch.stack((good, ~good))[..., None, None], right, wrong)
    features = torch.randn(2, len(corpus), 4)
    features[..., 0] = torch.where(torch.stack((good, ~good)), 1.0, -1.0)
    views = views._replace(log_probs=planted.log_softmax(-1), features=features)
    train, held_out = views.take(torch.arange(300)), views.take(torch.arange(300, 400))
    net = train_lambda(RUN, train, settings(), space, seed=0)
    gain = held_out_gain(held_out, net, space, seed=0)
    assert gain.learned < gain.uniform and 0 < gain.gain_low < gain.gain < gain.gain_high
    weights = net(held_out.features)
    assert (weights.argmax(dim=0) == torch.where(good[300:], 0, 1)).double().mean() > 0.95
    again = train_lambda(RUN, train, settings(), space, seed=0)
    assert all(torch.equal(a, b) for a, b in zip(net.parameters(), again.parameters(), strict=True))


def test_the_prior_knows_what_training_has_seen_and_reads_no_target(model: Seq2Seq) -> None:
    """Commands with jump are only tested, so their swap is upright, unless it has jump as well."""
    data, actions = load_data("add_jump", 0, max_commands=300), word_actions(VERB)
    learned = collect_views(model, data.train.take(np.arange(500)), actions)
    group = actions.commands.group
    net = train_lambda(RUN, learned, settings(), "probabilities", 0, group, 0.0)
    weights = net(collect_views(model, data.test, actions).features)
    assert (weights.argmax(dim=0) == 1).double().mean() > 0.8
    blind = learned._replace(log_probs=torch.zeros_like(learned.log_probs))
    again = train_lambda(RUN, blind, settings(), "probabilities", 0, group, 0.0)
    assert all(torch.equal(a, b) for a, b in zip(net.parameters(), again.parameters(), strict=True))
    with_labels = train_lambda(RUN, learned, settings(), "probabilities", 0, group, 1.0)
    pairs = zip(net.parameters(), with_labels.parameters(), strict=True)
    assert any(not torch.equal(a, b) for a, b in pairs)


@torch.no_grad()
def test_views_are_the_model_s_own_likelihood(model: Seq2Seq, corpus: Corpus) -> None:
    """With all weight on the identity the objective is the plain model's likelihood."""
    views = collect_views(model, corpus, word_actions(VERB))
    identity = torch.stack((torch.ones(len(corpus)), torch.zeros(len(corpus))))
    for space in ("probabilities", "log_probabilities"):
        found = negative_log_likelihood(views, identity, space)
        for row in range(0, len(corpus), 17):
            target = torch.tensor([corpus.targets[row]])
            log_probs = model.forward_teacher(torch.tensor([corpus.commands[row]]), target)
            expected = -log_probs.gather(-1, target[..., None]).sum()
            assert float(found[row]) == pytest.approx(float(expected), rel=1e-5)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device here")
@pytest.mark.parametrize("method", ["equitune", "equizero"])
def test_a_gpu_translates_like_the_cpu(
    configure: Callable[..., AnyConfig], model: Seq2Seq, corpus: Corpus, method: str
) -> None:
    """Rounding differs, so a near tie may fall the other way; nothing else may."""
    task = configure(f"method={method}").task
    on_cpu = translate(translator(model, VERB, method, task), corpus)
    on_gpu = translate(translator(copy.deepcopy(model).cuda(), VERB, method, task), corpus)
    assert (on_cpu == on_gpu).all(dim=1).double().mean() >= 0.95


def test_a_method_that_is_none_or_has_no_use_for_a_group_is_refused(
    configure: Callable[..., AnyConfig],
) -> None:
    task, model = configure().task, Seq2Seq("RNN")
    with pytest.raises(ValueError, match="pretrained has one view: give it group trivial, not ver"):
        translator(model, VERB, "pretrained", task)
    with pytest.raises(UserError, match=r"method=equi is not known .*choose from: pretrained, equ"):
        translator(model, VERB, "equi", task)
    with pytest.raises(ValueError, match="needs lambda"):
        translator(model, VERB, "lambda_equitune", task)
    with pytest.raises(ValueError, match="needs temperature="):
        translator(model, VERB, "soft_equizero", task)
    for options, line in {
        ("task.selection=step", "task.coupling=joint", "task.score=emitted"): "weighs a view once",
        ("task.finetune.iterations=10",): "soft_equizero is not fine-tuned",
        ("stage=lambda", "method.temperature=1"): "method.temperature is given",
    }.items():
        with pytest.raises(UserError, match=line):
            configure("method=soft_equizero", *options)


@pytest.mark.parametrize("name", OPTIONS)
def test_scores_that_are_no_numbers_are_not_decoded(
    configure: Configure, model: Seq2Seq, corpus: Corpus, name: str
) -> None:
    """A word that is never written is no fault, and changes nothing that is written."""
    options = configure("method=equizero", *OPTIONS[name]).task
    for value in (torch.nan, torch.inf, -torch.inf):
        net = copy.deepcopy(model)
        net.decoder.out.bias.data[SOS] = value
        for method in ("equitune", "equizero"):
            translate_it = translator(net, VERB, method, options)
            if value == -torch.inf:
                assert SOS not in translate(translate_it, corpus)
                continue
            with pytest.raises(UserError, match="gives scores that are no finite numbers"):
                translate(translate_it, corpus)
