"""Games as data, and a table to play them at."""
