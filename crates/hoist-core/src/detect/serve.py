"""Serves the files of a directory, for apps that are nothing else. No listings, and nothing that begins with a dot."""

import functools
import os
import signal
import sys
from http import HTTPStatus
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer


class Files(SimpleHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version = "hoist"
    sys_version = ""

    def send_head(self):
        path = os.path.relpath(self.translate_path(self.path), self.directory)
        if path != "." and any(part.startswith(".") for part in path.split(os.sep)):
            self.send_error(HTTPStatus.NOT_FOUND)
            return None
        return super().send_head()

    def list_directory(self, path):
        self.send_error(HTTPStatus.NOT_FOUND)

    def log_message(self, *_):
        # The router writes a line per request already.
        pass


def main():
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    handler = functools.partial(Files, directory=os.path.abspath(sys.argv[1]))
    server = ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), handler)
    server.serve_forever()


main()
