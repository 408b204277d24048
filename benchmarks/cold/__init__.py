"""What `benchmarks/loading.py` is made of: models, the S3 that they lie in, and who loads them."""
