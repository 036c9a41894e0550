"""Which case a person should look at next."""
