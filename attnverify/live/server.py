"""The server of the live view: who may ask, in which form, and what leaves with each answer."""

from __future__ import annotations

import ipaddress
import re
import socket
import threading
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote

from attnverify.errors import AttnverifyError, UsageError
from attnverify.live.pages import Answer, View
from attnverify.live.query import Query, Refused

LOOPBACK = "127.0.0.1"
# Seconds after which a connection that says nothing is closed.
PATIENCE = 10
HOST = re.compile(r"(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9.-]+)(:[0-9]{1,5})?", re.ASCII)
KEPT_OUT = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-store",
}


class Server(ThreadingHTTPServer):
    """Serves the live view of a folder of reports and of a store, at `url`.

    `port` 0 takes a free one. Raises UsageError where the address cannot be had.

    >>> with Server(Path("reports"), Path(".attnverify"), port=0) as server:
    ...     server.url.startswith("http://127.0.0.1:")
    True
    """

    daemon_threads = True

    def __init__(self, folder: Path, kept: Path, *, host: str = LOOPBACK, port: int = 8000) -> None:
        self.view, self.host = View(folder, kept), host
        # What computes is not made for several requests at once.
        self.one_at_a_time = threading.Lock()
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        try:
            super().__init__((host, port), Handler)
        except OSError as error:
            raise UsageError(
                "the address cannot be served", found=f"{host}:{port}: {error.strerror or error}",
                hint="another one: --port 0 takes any that is free",
            ) from None  # fmt: skip

    @property
    def url(self) -> str:
        """Where the index is."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.server_address[1]}/"

    def allows(self, host: str) -> bool:
        """Whether a request names this machine, not a name that somebody made point to it.

        A page of another site can have its own name resolve to this machine, never an address.
        """
        found = HOST.fullmatch(host)
        if found is None:
            return False
        name = found[1].strip("[]").lower()
        if name in ("localhost", self.host.lower()):
            return True
        try:
            address = ipaddress.ip_address(name)
        except ValueError:
            return False
        return address.is_loopback or not _is_loopback(self.host)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


class Handler(BaseHTTPRequestHandler):
    """One request: checked, answered, and sent with what keeps other sites out."""

    server: Server
    server_version = "attnverify"
    sys_version = ""
    timeout = PATIENCE

    def do_GET(self) -> None:
        """Answer with a page."""
        self._send(self._answer(), body=True)

    def do_HEAD(self) -> None:
        """Answer without the page."""
        self._send(self._answer(), body=False)

    def send_error(self, code: int, *_words: object, **_named: object) -> None:
        """What cannot be read as a request, or is of another method, gets a page of ours too."""
        status = HTTPStatus(code)
        if status is HTTPStatus.NOT_IMPLEMENTED:
            status = HTTPStatus.METHOD_NOT_ALLOWED
        words = "this page is read with GET" if status == HTTPStatus.METHOD_NOT_ALLOWED else (
            f"the request cannot be read: {status.phrase.lower()}"
        )  # fmt: skip
        self.close_connection = True
        self._send(self.server.view.refused(Refused(words, status)), body=True)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  the base class's name
        """Nothing: a terminal shows the address and what the person types."""

    def _answer(self) -> Answer:
        view = self.server.view
        try:
            self._admitted()
            path, _, query = self.path.partition("?")
            steps = [unquote(step, errors="strict") for step in path.split("/")[1:]]
            with self.server.one_at_a_time:
                return view.answer(steps, Query.read(query))
        except Refused as refused:
            return view.refused(refused)
        except UnicodeDecodeError:
            return view.refused(Refused("the address is not UTF-8"))
        except AttnverifyError as error:
            return view.refused(Refused(error.sentence()))
        except Exception as error:  # noqa: BLE001  a fault of ours is told in a sentence too
            words = f"attnverify itself failed: {type(error).__name__}; please report it"
            return view.refused(Refused(words, HTTPStatus.INTERNAL_SERVER_ERROR))

    def _admitted(self) -> None:
        """Refused for a request that another site caused, or that names another host."""
        hosts = self.headers.get_all("Host", [])
        if len(hosts) != 1 or not self.server.allows(hosts[0]):
            raise Refused(
                "this server answers to its own address alone", HTTPStatus.MISDIRECTED_REQUEST
            )
        if not self.path.startswith("/"):
            raise Refused("an address begins with a slash")
        site, mode = (self.headers.get(f"Sec-Fetch-{name}", "") for name in ("Site", "Mode"))
        if site in ("cross-site", "same-site") and mode != "navigate":
            raise Refused("another site asks for this", HTTPStatus.FORBIDDEN)

    def _send(self, answer: Answer, *, body: bool) -> None:
        content = answer.text.encode("utf-8", "replace")
        self.send_response(answer.status)
        for name, value in KEPT_OUT.items():
            self.send_header(name, value)
        self.send_header("Content-Security-Policy", answer.policy)
        if answer.to:
            self.send_header("Location", answer.to)
        if answer.status == HTTPStatus.METHOD_NOT_ALLOWED:
            self.send_header("Allow", "GET, HEAD")
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if body:
            self.wfile.write(content)
