"""Worlds: a file named in conf/world has `make`; a larger world's other files bear its name; `grid` is shared."""
