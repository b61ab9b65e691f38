"""A line as a conversation about one picture: TRL's vision format
(https://huggingface.co/docs/trl/dataset_formats#vision-datasets)."""

from typing import Any

from pocketvlm.workspace import Row


def conversation(row: Row, image: str, question: str) -> Row:
    """The question about a picture and its label as the answer, then the line's other fields.

    `image` is the picture's file, relative to the folder of the export."""
    ask = [{"type": "image"}, {"type": "text", "text": question}]
    answer = [{"type": "text", "text": row["label"]}]
    messages = [{"role": "user", "content": ask}, {"role": "assistant", "content": answer}]
    return {"messages": messages, "images": [image], **row}


def line_of(talk: Row) -> tuple[Row, str]:
    """Fields (without the picture) and the picture's file of a conversation, ours or another's.

    ValueError where it has no single picture as a file, or no label and no answer."""
    images = talk.get("images")
    if not isinstance(images, list) or len(images) != 1 or not isinstance(images[0], str):
        raise ValueError("images is no list of one file")
    row = {name: value for name, value in talk.items() if name not in ("messages", "images")}
    if "label" not in row:
        row["label"] = _answer(talk.get("messages"))
    return row, images[0]


def _answer(messages: Any) -> str:
    """What the assistant says at last, alone."""
    try:
        last = next(one for one in reversed(messages) if one["role"] == "assistant")["content"]
        return (last if isinstance(last, str) else "".join(part["text"] for part in last)).strip()
    except (StopIteration, TypeError, KeyError, AttributeError):
        raise ValueError("no message of the assistant says a text") from None
