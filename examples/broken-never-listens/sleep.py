"""Runs, says that it is about to be ready, and never is."""

import time

print("loading the model, this takes a moment", flush=True)
while True:
    time.sleep(60)
