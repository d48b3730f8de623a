"""What `python -m scripts.tune` measures: one module a side, then whole self-play at the settings that look best."""
