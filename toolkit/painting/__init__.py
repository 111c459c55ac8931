"""Renders pictures in five styles with integer arithmetic only, the same bytes on every machine."""
