"""Worlds: each file that conf/world names has `make`. The others serve those that take environments of others."""
