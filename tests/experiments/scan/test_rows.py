"""The rows of an evaluation that say what a method costs, and what its weights were fitted to."""

from __future__ import annotations

from collections.abc import Callable

from experiments.frame.options import AnyConfig
from experiments.frame.runner import execute
from experiments.scan.nets.model import Seq2Seq

Configure = Callable[..., AnyConfig]
SMALL = (
    *("model=RNN", "task.max_commands=6", "task.pretrain.iterations=40"),
    *("task.pretrain.evaluations=1", "task.pretrain.backend=torch"),
)
WHOLE = sum(value.numel() for value in Seq2Seq("RNN").parameters())
#: 128 features, a hidden layer of 100, one output.
NET = 128 * 100 + 100 + 100 + 1
COSTS = {
    "method=pretrained": (1, 0),
    "method=equitune": (2, 0),
    "method=equizero": (2, 0),
    "method=lambda_equitune method.lambda_net.steps=2": (2, NET),
    "method=soft_equizero": (2, 1),
    "method=soft_equizero method.temperature=0.1": (2, 0),
    "method=prior_lambda method.lambda_net.steps=2": (2, NET),
    "method=equitune task.finetune.iterations=2": (2, WHOLE),
    "method=lambda_equitune method.lambda_net.steps=2 task.finetune.iterations=2": (4, WHOLE + NET),
}


def test_what_a_method_costs(configure: Configure) -> None:
    for words, (passes, trained) in COSTS.items():
        finished = execute(configure(*SMALL, *words.split()))
        rows = {row["metric"]: row for row in finished.rows()}
        assert float(rows["passes"]["value"]) == passes, words
        assert float(rows["trained_parameters"]["value"]) == trained, words
        assert rows["passes"]["split"] == rows["trained_parameters"]["split"] == "test"
        fitted = words == "method=soft_equizero"
        assert ("temperature" in rows) == fitted
        assert ("upright_found" in rows) == words.startswith("method=prior")
        if fitted:
            assert 1e-6 <= float(rows["temperature"]["value"]) <= 100
            gain = [float(rows[f"nll_gain{end}"]["value"]) for end in ("_low", "", "_high")]
            assert gain == sorted(gain)
    assert len(list(finished.folder.parent.glob("pretrain-*"))) == 1
