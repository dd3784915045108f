"""A recorded run of a strong model on a real training task, replayed offline in seconds.

From the root of a clone:

make showcase                                   # replays `recorded/`, and writes a report
PYTHONPATH=examples python -m showcase --help   # the same, to record another run, and to renew what it is compared with
"""
