"""Servers of other parties on this machine, which answer as a test says: late, wrong, too long, or not at all."""

import threading
import time
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class _Scripted(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        data = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.heard.append((self.path, self.headers, data))
        with suppress(BrokenPipeError, ConnectionResetError):
            self.server.answer(self, data)
        self.close_connection = True

    def give(self, status, kind, body, length=None, **headers):
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body) if length is None else length))
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def drip(self, line=b"X-Drip: 1\r\n", every=0.05, times=400):
        """Send a little, again and again, so that no single wait is long."""
        self.wfile.write(b"HTTP/1.1 200 OK\r\n")
        for _ in range(times):
            self.wfile.write(line)
            self.wfile.flush()
            time.sleep(every)

    def log_message(self, *_):
        pass


def set_key(path, table, key, value):
    """Set a key of a table in a ``mocban.toml`` to a text."""
    head, name, rest = path.read_text().partition(f"[{table}]\n")
    inside, end, others = rest.partition("\n[")
    lines = [f'{key} = "{value}"' if line.startswith(f"{key} =") else line for line in inside.split("\n")]
    assert lines != inside.split("\n") or f'{key} = "{value}"' in lines
    path.write_text(head + name + "\n".join(lines) + end + others)


@contextmanager
def server(answer):
    """Give a server that answers each POST with ``answer(conversation, data)``; ``heard`` is what came."""
    listening = ThreadingHTTPServer(("127.0.0.1", 0), _Scripted)
    listening.answer, listening.heard, listening.daemon_threads = answer, [], True
    listening.block_on_close = False
    listening.url = f"http://127.0.0.1:{listening.server_port}"
    thread = threading.Thread(target=listening.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield listening
    finally:
        listening.shutdown()
        listening.server_close()
