"""Runs in the local AWS's own environment, never in thampi's: ministack, made to do what AWS does.

`cloud.py` starts it, by the path of this folder; nothing of thampi can be imported here. What it changes about
ministack holds for the version that is pinned in `ministack.txt`, and tests/e2e/test_local_aws.py shows that it does.
"""
