"""What was asked for -> exactly what is installed: versions, hashes and, where it can't be fetched, the wheel."""
