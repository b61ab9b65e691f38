"""`pocketvlm review`: bring the page up on this machine, for this user, until Ctrl-C."""

import secrets
import socket
import threading
import webbrowser
from contextlib import suppress

import uvicorn

from pocketvlm.errors import ConfigError, PocketError
from pocketvlm.progress import say
from pocketvlm.project import Project
from pocketvlm.review.background import Background
from pocketvlm.review.items import Board, figures
from pocketvlm.review.journal import Journal
from pocketvlm.review.server import make_app
from pocketvlm.review.thumbnails import Pictures
from pocketvlm.workspace import Row, read_record, write_json

LOOPBACK = "127.0.0.1"
PATIENCE = 2
"""Seconds that open requests get when the server stops."""


def review(project: Project, port: int = 0, open_page: bool = True) -> Row:
    """Serve the label page until Ctrl-C; how many pictures are reviewed, accepted, relabelled,
    rejected and left.

    Port 0 is the one of the last time if it is free: a page that is still open goes on there.
    ConfigError for labels that are no teacher's, PocketError without any or for a taken port."""
    if project.config.prepare.custom is not None:
        raise ConfigError(
            "prepare.custom: the labels of a file are corrected in the file; reviews are of a "
            "teacher's labels"
        )
    say("Reading what the teachers said")
    board = Board.of(project)
    with listen(project, port) as listener:
        serve(board, listener, open_page)
    return figures(board)


def serve(board: Board, listener: socket.socket, open_page: bool) -> None:
    """Show the address, open it, and answer until Ctrl-C."""
    page, token, ticket = address(listener), secrets.token_urlsafe(32), secrets.token_urlsafe(32)
    server, background = make_server(board, listener, token, ticket)
    say(f"{len(board.labelled)} pictures to review; Ctrl-C ends it")
    say(f"  {page}?token={token}")
    background.start()
    if open_page:  # a browser in the terminal would wait for its own end
        opening = (f"{page}?token={ticket}",)
        threading.Thread(target=webbrowser.open, args=opening, daemon=True).start()
    try:
        with suppress(KeyboardInterrupt):  # uvicorn raises it again after its own shutdown
            server.run(sockets=[listener])
    finally:
        background.stop()


def make_server(
    board: Board, listener: socket.socket, token: str, ticket: str
) -> tuple[uvicorn.Server, Background]:
    """The server, and what it does in the background."""
    guard = {"token": token, "ticket": ticket, "port": listener.getsockname()[1]}
    files = {one.picture["sha256"]: one.picture["file"] for one in board.labelled}
    pictures = Pictures(board.project, files)
    background = Background(board, pictures)
    journal = Journal(board.project.workspace.reviews)
    config = uvicorn.Config(
        make_app(board, journal, pictures, background, guard),
        log_level="warning",
        access_log=False,  # it would hold the token
        server_header=False,
        timeout_graceful_shutdown=PATIENCE,
    )
    return uvicorn.Server(config), background


def address(listener: socket.socket) -> str:
    """Of the page."""
    return f"http://{LOOPBACK}:{listener.getsockname()[1]}/"


def listen(project: Project, port: int) -> socket.socket:
    """A socket on this machine's loopback, never on a network."""
    memory = project.workspace.root / "state" / "review.json"
    last = port or (read_record(memory).get("port", 0) if memory.is_file() else 0)
    try:
        listener = bound(last)
    except (OSError, OverflowError, TypeError) as error:
        if port:
            raise PocketError(f"port {port} cannot be used ({error}): choose another") from None
        listener = bound(0)
    write_json(memory, {"port": listener.getsockname()[1]})
    return listener


def bound(port: int) -> socket.socket:
    """A listening socket; OSError for a port that is taken."""
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((LOOPBACK, port))
        listener.listen(128)
    except OSError:
        listener.close()
        raise
    return listener
