"""From games to rows, and from rows to batches."""
