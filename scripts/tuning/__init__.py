"""What `python -m scripts.tune` writes and prints; what it measures is in `scripts.measuring`."""
