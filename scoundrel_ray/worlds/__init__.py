"""Worlds: each file has `make`, named in conf/world."""
