"""Simulated heads and their fields: for training, the demo and the benchmark."""
