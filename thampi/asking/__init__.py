"""Asking a model over HTTP: what `thampi.Client` and `thampi predict` have in common; knows no AWS."""
