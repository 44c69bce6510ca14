"""The transport: bytes to values, a call, values to bytes."""
