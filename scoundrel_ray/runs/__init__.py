"""What a run is told, keeps and reports."""
