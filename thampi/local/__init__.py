"""AWS on this machine, and the container behind `thampi run`."""
