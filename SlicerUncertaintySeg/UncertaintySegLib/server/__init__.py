"""The way to the server. No `slicer` here: all of it but `courier` runs in a child process, or in scripts."""
