"""Ends at once, as an app does that misses a setting."""

import sys

print("connecting to the database", flush=True)
sys.exit("no DATABASE_URL: giving up")
