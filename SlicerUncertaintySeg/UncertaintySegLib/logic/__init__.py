"""What each section of the panel does, without widgets: scripts and tests may use it as the panel does."""
