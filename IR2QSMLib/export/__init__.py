"""DICOM out: a map as the objects of an archive, and sending them there."""
