"""Tests, by room; `journeys` are the stories a user lives."""
