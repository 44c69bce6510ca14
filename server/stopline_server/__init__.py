"""Stopline: the consent service of a text-messaging platform."""
