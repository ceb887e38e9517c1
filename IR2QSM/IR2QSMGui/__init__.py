"""What the module IR2QSM does in Slicer; it reaches the library only through the command line that it starts."""
