"""The command `ir2qsm`: arguments only."""
