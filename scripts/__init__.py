"""Commands: `python -m scripts.NAME`. They parse, call and print."""
