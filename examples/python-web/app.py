"""The web process: a page by WSGI, with the standard library's server."""

import os
import signal
import sys
from socketserver import ThreadingMixIn
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server


def application(environ, start_response):
    if environ["PATH_INFO"] == "/health":
        start_response("204 No Content", [])
        return []
    lines = [
        os.environ.get("GREETING", "hi"),
        f"release {os.environ['RELEASE']}",
        f"python {sys.executable}",
    ]
    start_response("200 OK", [("Content-Type", "text/plain; charset=utf-8")])
    return ["\n".join(lines).encode(), b"\n"]


class Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True


class Quiet(WSGIRequestHandler):
    def log_message(self, *_):
        # The router writes a line per request already.
        pass


def main():
    port = int(os.environ["PORT"])
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    with make_server("127.0.0.1", port, application, Server, Quiet) as server:
        print(f"listening on {port}")
        server.serve_forever()


main()
