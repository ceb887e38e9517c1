"""Files in and out: images, acquisition metadata, weights; units and axis order are converted here and nowhere else."""
