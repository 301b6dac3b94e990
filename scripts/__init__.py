"""Programs that make tables and figures from the rows under `results/`; none runs a model."""
