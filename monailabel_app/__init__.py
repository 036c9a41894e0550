"""The MONAI Label server: its app, its job queue and the routes around it."""
