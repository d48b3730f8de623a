"""What `python -m scripts.benchmark` measures: one module for each suite, with `run(config) -> list of figures`."""
