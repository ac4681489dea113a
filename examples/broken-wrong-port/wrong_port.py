"""Listens on a port of its own choosing instead of on $PORT."""

import signal
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


def server():
    try:
        return ThreadingHTTPServer(("127.0.0.1", 3000), BaseHTTPRequestHandler)
    except OSError:
        # Somebody has it; any other port is as wrong.
        return ThreadingHTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler)


def main():
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    listening = server()
    print(f"listening on {listening.server_port}", flush=True)
    listening.serve_forever()


main()
