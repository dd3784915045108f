"""Several processes on one study: who lives, how many trials are left, and what the dead left behind."""
