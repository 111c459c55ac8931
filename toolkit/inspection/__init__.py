"""What `toolkit.inspect` shows beside plain rows: differences, contact sheets, a viewer."""
