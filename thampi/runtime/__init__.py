"""The only part that also runs in Lambda."""
