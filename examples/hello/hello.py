"""Answers with a greeting. Nothing but the standard library."""

import os
import signal
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Hello(BaseHTTPRequestHandler):
    # Connections stay open between requests.
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        if self.path == "/health":
            self.answer("ok\n")
        else:
            release = os.environ.get("RELEASE", "no release")
            self.answer(f"Hello from {release}\n")

    def answer(self, text):
        body = text.encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/plain; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        # The router writes a line per request already.
        pass


def main():
    # The port is not ours to choose.
    port = int(os.environ["PORT"])
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    server = ThreadingHTTPServer(("127.0.0.1", port), Hello)
    print(f"listening on {port}", flush=True)
    server.serve_forever()


main()
