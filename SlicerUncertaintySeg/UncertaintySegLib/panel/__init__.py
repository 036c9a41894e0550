"""The widgets: one section, with its .ui file, for each file of `logic`. Only this room knows `qt`."""
