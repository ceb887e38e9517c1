"""Runs on another computer: the worker's protocol over HTTP, both ends of it."""
