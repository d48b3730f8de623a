"""Worlds: each file that conf/world names has `make`; a larger world's other files bear its name, others are shared."""
