"""One decision on many cores."""
