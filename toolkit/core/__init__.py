"""What everything stands on: errors, the command line, configuration, keyed random numbers."""
