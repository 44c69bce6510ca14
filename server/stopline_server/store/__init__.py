"""Where consent is kept: one protocol, and the stores that speak it."""
