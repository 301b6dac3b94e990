"""The jobs of a sweep have the configurations that Hydra itself makes of them."""

from __future__ import annotations

from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir

from experiments.frame.conf import CONF
from experiments.frame.errors import UserError
from experiments.frame.load import load
from report.runs.jobs import asked


@pytest.mark.parametrize(
    ("words", "count"),
    [
        (("experiment=methods_dqn", "seed=0,1", "method=equizero,augmented", "dataset=acrobot"), 8),
        (("experiment=figure5b", "seed=4", "task.max_images=10,20"), 24),
        (("experiment=table2", "seed=0,1", "model=GRU", "+task.source=one,two"), 0),
    ],
)
def test_a_job_is_composed_as_hydra_composes_it(
    words: tuple[str, ...], count: int, tmp_path: Path
) -> None:
    words = (*words, f"results={tmp_path}")
    if not count:  # an option that the schema does not have
        with pytest.raises(UserError):
            asked(words)
        return
    jobs = asked(words)
    assert len(jobs) == count
    common = [word for word in words if "," not in word]
    with initialize_config_dir(str(CONF), version_base="1.3"):
        for job in jobs:
            assert job.config == load(compose("config", [*common, *job.words]))
            assert job.config not in job.elsewhere
