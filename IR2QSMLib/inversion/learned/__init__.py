"""From local field to χ by a network: estimate of the discrepancy, whole-brain map, network, one step on the field."""
