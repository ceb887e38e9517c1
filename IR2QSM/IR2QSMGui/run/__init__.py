"""The worker process and its words."""
