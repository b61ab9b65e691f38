"""How the tests ask a simulated teacher: by OpenAI's own client, and by bare sockets."""

import base64
import json
import socket
from typing import Any
from urllib.parse import urlsplit

import openai


def connect(url: str) -> openai.OpenAI:
    """A client that tries once and looks at no proxy."""
    plain = openai.DefaultHttpxClient(trust_env=False)
    return openai.OpenAI(base_url=url, api_key="none", max_retries=0, http_client=plain)


def data_url(number: int) -> str:
    """A picture as it is sent; the teacher never decodes it."""
    return f"data:image/jpeg;base64,{base64.b64encode(b'%d' % number).decode()}"


def request(number: int, model: str = "one") -> dict[str, Any]:
    """A question about a picture."""
    content = [
        {"type": "text", "text": 'which "model": "x"?'},
        {"type": "image_url", "image_url": {"url": data_url(number)}},
    ]
    return {"model": model, "messages": [{"role": "user", "content": content}]}


def ask(client: openai.OpenAI, number: int, model: str = "one") -> Any:
    """One chat completion."""
    return client.chat.completions.create(**request(number, model))


def send(url: str, number: int) -> socket.socket:
    """Ask over a socket of its own, and wait for nothing."""
    address = urlsplit(url)
    connection = socket.create_connection((str(address.hostname), int(address.port or 0)))
    body = json.dumps(request(number)).encode()
    head = f"POST /v1/chat/completions HTTP/1.1\r\nContent-Length: {len(body)}\r\n\r\n"
    connection.sendall(head.encode() + body)
    return connection
