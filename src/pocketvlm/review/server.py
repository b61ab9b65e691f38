"""The page's server: the list once, pictures by their hash, decisions both ways in one exchange."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Literal, Self

from fastapi import FastAPI, HTTPException, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from pocketvlm.errors import PocketError
from pocketvlm.pages import STYLE
from pocketvlm.review.background import Background
from pocketvlm.review.items import Board, readable
from pocketvlm.review.journal import Journal
from pocketvlm.review.security import Guard
from pocketvlm.review.thumbnails import Pictures
from pocketvlm.reviews import Review, Verb
from pocketvlm.workspace import Row

STATIC = Path(__file__).parent / "static"
TYPES = {
    ".html": "text/html",
    ".css": "text/css",
    ".js": "text/javascript",
    ".svg": "image/svg+xml",
}
"""Not the system's own table: Windows may call JavaScript plain text, which `nosniff` stops."""

KEPT = "private, max-age=86400"
"""A picture named by its hash never changes."""

Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
Kind = Literal["phone", "photo", "thumbnail"]


class Body(BaseModel):
    """Something sent by the page: nothing but what is asked for."""

    model_config = ConfigDict(extra="forbid", strict=True)


class Decided(Body):
    """One decision."""

    picture: Sha256
    decision: Verb
    label: Annotated[str, Field(max_length=200)] | None = None

    @model_validator(mode="after")
    def _label_where_one_belongs(self) -> Self:
        if self.decision == "relabel" and self.label is None:
            raise ValueError("relabel names a label")
        if self.decision in ("reject", "undo") and self.label is not None:
            raise ValueError("reject and undo name no label")
        return self


class Exchange(Body):
    """A window's new decisions, and up to where it has read the others'."""

    board: str
    """`Board.name`: a page may outlive its server and meet another project's."""
    window: Annotated[str, StringConstraints(pattern=r"^[0-9a-f-]{8,40}$")]
    first: Annotated[int, Field(ge=0)]
    """The number of the first of these decisions among all of this window."""
    since: Annotated[int, Field(ge=0)]
    """The byte of reviews.jsonl after the last decision that the window knows."""
    decisions: Annotated[list[Decided], Field(max_length=500)]


def make_app(
    board: Board, journal: Journal, pictures: Pictures, background: Background, guard: Row
) -> FastAPI:
    """The whole application; `guard` holds what Guard is made with."""
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    app.add_middleware(Guard, **guard)
    app.add_exception_handler(RequestValidationError, unsound)
    add_files(app)
    add_pictures(app, board, pictures)
    add_reading(app, board, background)
    add_decisions(app, board, journal)
    return app


def add_files(app: FastAPI) -> None:
    """The page and what it loads, read once: no path comes from the network."""
    names = [path for path in STATIC.iterdir() if path.suffix in TYPES]
    files = {path.name: path for path in (*names, STYLE)}

    def serve(path: Path) -> Callable[[], Response]:
        text, kind = path.read_text(encoding="utf-8"), TYPES[path.suffix]
        return lambda: Response(text, media_type=kind, headers={"Cache-Control": "no-store"})

    for name, path in files.items():
        app.add_api_route(f"/assets/{name}", serve(path), response_class=Response)
    app.add_api_route("/", serve(files["review.html"]), response_class=Response)


def add_pictures(app: FastAPI, board: Board, pictures: Pictures) -> None:
    """`/picture/KIND/SHA256`: only pictures of the list, by their hash."""

    @app.get("/picture/{kind}/{sha256}")
    def picture(kind: Kind, sha256: Sha256) -> Response:
        place(sha256, board)
        try:
            if kind == "phone":
                data, media = pictures.phone(sha256), "image/png"
            elif kind == "photo":
                data, media = pictures.photo(sha256), "image/jpeg"
            else:
                data, media = pictures.thumbnail(sha256).read_bytes(), "image/jpeg"
        except PocketError as error:
            raise HTTPException(404, str(error).replace(f"{pictures.originals}/", "")) from None
        return Response(data, media_type=media, headers={"Cache-Control": KEPT})


def add_reading(app: FastAPI, board: Board, background: Background) -> None:
    """What was said of a picture, which ones hold some words, which ones are suspects."""

    @app.get("/api/picture/{sha256}")
    def details(sha256: Sha256) -> Row:
        return board.details(place(sha256, board))

    @app.get("/api/search")
    def search(words: Annotated[str, Query(max_length=200)]) -> list[int]:
        return board.search(words)

    @app.get("/api/suspects")
    def suspects() -> Row:
        return background.suspects()


def add_decisions(app: FastAPI, board: Board, journal: Journal) -> None:
    """The list with what counts now, and the exchange of what comes after."""
    task = board.project.config.task
    contract = board.project.contract

    @app.get("/api/board")
    def whole_list() -> Row:
        at, decisions = journal.since(0)
        known = {one.picture: one for one in decisions if one.picture in board.places}
        return board.compact() | {
            "board": board.name,
            "edition": board.edition,
            "labels": task.labels,
            "side": contract.side,
            "contract": contract.hash[:8],
            "since": at,
            "decisions": list(known.values()),
        }

    @app.post("/api/exchange")
    def exchange(body: Exchange) -> Row:
        if body.board != board.name:
            raise HTTPException(409, "another project is reviewed at this address now")
        reasons = [unfit(one, board) for one in body.decisions]
        decisions = [
            None if why else Review(one.picture, one.decision, one.label)
            for one, why in zip(body.decisions, reasons, strict=True)
        ]
        try:
            journal.write(body.window, body.first, decisions)
        except OSError as error:
            raise HTTPException(507, f"reviews.jsonl: {error.strerror}") from None
        at, found = journal.since(body.since)
        start = body.since if at >= body.since else 0
        refused = [(number, why) for number, why in enumerate(reasons) if why]
        answer = {"since": at, "from": start, "decisions": found, "edition": board.edition}
        return answer | {"refused": refused}


async def unsound(_: Request, error: Exception) -> Response:
    """What is wrong with a request, without repeating it: it may hold what JSON cannot say."""
    found = error.errors() if isinstance(error, RequestValidationError) else []
    return JSONResponse({"detail": "; ".join(str(one["msg"]) for one in found)}, 422)


def place(sha256: str, board: Board) -> int:
    """A picture's index; 404 for one that is not in the list."""
    if sha256 not in board.places:
        raise HTTPException(404, "no such picture")
    return board.places[sha256]


def unfit(one: Decided, board: Board) -> str | None:
    """Why a decision cannot be written: a page may outlive its list's pictures and labels."""
    if one.picture not in board.places:
        return f"picture {one.picture[:12]} is not in the list any more"
    if one.label is not None and one.label not in board.labels:
        picture = board.labelled[board.places[one.picture]].picture
        name = readable(picture.get("origin") or picture["file"])
        return f"{name}: {one.label!r} is no label of this project any more"
    return None
