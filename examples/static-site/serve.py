"""Serves the files of `public`. Nothing but the standard library."""

import functools
import os
import signal
import sys
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer


class Files(SimpleHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        # The router writes a line per request already.
        pass


def main():
    port = int(os.environ["PORT"])
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    handler = functools.partial(Files, directory="public")
    server = ThreadingHTTPServer(("127.0.0.1", port), handler)
    print(f"serving public on {port}", flush=True)
    server.serve_forever()


main()
