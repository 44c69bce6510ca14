"""What the service knows and decides, pure: no clock, no I/O, and nothing of ours is imported from here."""
