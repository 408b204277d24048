"""One file a command, readable aloud."""
