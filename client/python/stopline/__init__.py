"""Stopline."""
