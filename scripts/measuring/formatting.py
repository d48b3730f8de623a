"""How measured numbers are written in tables."""

from __future__ import annotations


def format_number(value: float) -> str:
    """Three figures, or all digits before the point."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
