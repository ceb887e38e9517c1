"""Qt: the panel and its sections."""
