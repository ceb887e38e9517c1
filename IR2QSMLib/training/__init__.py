"""Training and calibration of networks."""
