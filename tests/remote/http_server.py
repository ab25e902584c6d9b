"""A plain HTTP server that keeps what is PUT. Prints its port. Obeys files in the directory that it is given:
`fail` (503 to everything), `hang` (never answers), `token` (the bearer token that it wants). Notes each request in `log`."""

import http.server
import os
import sys
import threading

place = sys.argv[1]
kept = {}


def flag(name):
    try:
        with open(os.path.join(place, name)) as file:
            return file.read()
    except FileNotFoundError:
        return None


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *words):
        pass

    def answer(self, code, body=b""):
        self.send_response(code)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def handle_all(self):
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        with open(os.path.join(place, "log"), "a") as log:
            log.write(f"{self.command} {self.path}\n")
        if flag("hang") is not None:
            threading.Event().wait()
        if flag("fail") is not None:
            return self.answer(503)
        token = flag("token")
        if token is not None and self.headers.get("Authorization") != f"Bearer {token}":
            return self.answer(401)
        if self.command == "PUT":
            kept[self.path] = body
            return self.answer(201)
        if self.path not in kept:
            return self.answer(404)
        return self.answer(200, kept[self.path])

    do_GET = do_HEAD = do_PUT = handle_all


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
server.daemon_threads = True
print(server.server_address[1], flush=True)
server.serve_forever()
