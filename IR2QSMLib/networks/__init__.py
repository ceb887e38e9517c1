"""The networks: one file each, tensors (batch, channel, x, y, z)."""
