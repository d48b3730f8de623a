"""A limiter that holds back whichever side of a replay is ahead: workers that insert, or the learner that samples."""

from __future__ import annotations


class SampleToInsert:
    """Keeps samples taken near `samples_per_insert` times the rows inserted.

    **Source:** the rate limiter of Reverb (Cassirer et al. 2021): samples owed stay within an error buffer around 0.

    Args:
        samples_per_insert: samples that a row is good for.
        min_rows: rows inserted before the first sample.
        tolerance: error buffer, as a share of `min_rows` times `samples_per_insert`.

    Attributes:
        inserted, sampled: rows and samples that count in what is owed.
    """

    def __init__(self, samples_per_insert: float, min_rows: int, tolerance: float) -> None:
        self._ratio = samples_per_insert
        self._min_rows = min_rows
        self._buffer = tolerance * min_rows * samples_per_insert
        self.inserted = 0
        self.sampled = 0

    @property
    def owed(self) -> float:
        """Samples that the rows so far are good for and that were not taken."""
        return self.inserted * self._ratio - self.sampled

    def may_insert(self) -> bool:
        """False while the learner is too far behind; always True until it has enough rows to start."""
        first = self._min_rows * self._ratio  # owed at the moment of the first batch, through no fault of the learner
        return self.inserted < self._min_rows or self.owed < first + self._buffer

    def may_sample(self, count: int) -> bool:
        """False until there are enough rows, and while the learner is too far ahead."""
        return self.inserted >= self._min_rows and self.owed - count >= -self._buffer

    @property
    def most_batch(self) -> int:
        """Rows of the largest batch that can ever be given: a larger one would stop the run for good."""
        return int(2 * self._buffer + self._min_rows * self._ratio)
