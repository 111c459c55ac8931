"""Completion of commands in shells: what may be typed, and a script of each shell."""
