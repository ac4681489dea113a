"""The release command (`init`) and the worker (`count`)."""

import itertools
import os
import signal
import sys
import time


def init():
    # Where an app with a database migrates it: once per promotion, before anything of the release starts.
    print(f"preparing release {os.environ['RELEASE']}")


def count():
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    for number in itertools.count(1):
        print(f"tick {number}")
        time.sleep(5)


{"init": init, "count": count}[sys.argv[1]]()
