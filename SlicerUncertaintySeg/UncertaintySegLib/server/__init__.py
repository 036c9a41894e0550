"""The way to the server. No `slicer` here: all of it but `worker_client` runs in a child process, or in scripts."""
