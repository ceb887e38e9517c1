"""Malformed requests: the server refuses each, stays up, opens nothing and keeps nothing."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from typing import Any

import pytest

START = b"HTTP/1.1 "
ELSEWHERE = ("../canary", "/etc/passwd", "..", "a/../../canary", "C:\\canary", "canary\0.nii", "--keep", "\udcff")


def request_line(random_: random.Random, server: Any) -> bytes:
    """A head that is wrong in one way."""
    method = random_.choice(["GET", "PUT", "DELETE", "POST", "OPTIONS", "POST POST", "\x01"])
    target = random_.choice(["/", "/runs/../canary", "/info/", "//runs", "/%2e%2e/canary", "*", "/" + "a" * 70_000, ""])
    head = f"{method} {target} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer a-token-of-these-tests\r\n\r\n"
    return head.encode("latin-1")


def other_token(random_: random.Random, server: Any) -> bytes:
    token = random_.choice(["", "x", "a-token-of-these-test", "a-token-of-these-tests2", "é", "a" * 9000])
    return server.head(10, token=token) + b"0123456789"


def other_length(random_: random.Random, server: Any) -> bytes:
    length = random_.choice([-1, 0, 3, 10**9, 10**30, "", "1e3", "0x10", "5, 5", " ", "9" * 5000])
    return server.head(length) + random_.randbytes(random_.randrange(200))


def chunked(random_: random.Random, server: Any) -> bytes:
    head = server.head(1).replace(
        b"Content-Length: 1", b"Transfer-Encoding: " + random_.choice([b"chunked", b"gzip", b"x"])
    )
    return head + random_.choice([b"4\r\nabcd\r\n0\r\n\r\n", b"zz\r\n", b"ffffffffffffffffff\r\nabcd", b""])


def noise(random_: random.Random, server: Any) -> bytes:
    return random_.randbytes(random_.randrange(1, 3000))


def mutated(random_: random.Random, server: Any) -> bytes:
    """A run's request with some bytes changed; its field is no image, whatever else it says."""
    line = json.dumps({"options": {}, "files": [file("field.nii", 4)], "results": {"output": ".nii"}, "keep": False})
    content = bytearray(server.head(len(line) + 5) + line.encode() + b"\nabcd")
    for _ in range(random_.randrange(1, 8)):
        content[random_.randrange(len(content))] = random_.randrange(256)
    return bytes(content)


def described(random_: random.Random, server: Any) -> bytes:
    """A run that is well formed and asks for what it must not get."""
    name = random_.choice([*ELSEWHERE, "field.nii", "field.nrrd", "field.txt"])
    elsewhere = random_.choice(ELSEWHERE)
    path = random_.choice([[name], ["scan", elsewhere], [elsewhere, name], [], [[name]], name])
    files: list[Any] = [{**file("field.nii", 4), "path": path}]
    if random_.random() < 0.3:
        files.append(
            {**file("mask.nii", random_.choice([-4, 0, 4, 10**12])), "option": random_.choice(["mask", "output", 5])}
        )
    options = {random_.choice(["weights", "output", "keep", "te", "method", "reference"]): random_.choice(ELSEWHERE)}
    results = {random_.choice(["output", "../output"]): random_.choice([".nii", "/../../canary", ".nii.gz/..", ""])}
    content = {
        "options": random_.choice([{}, options]),
        "files": files,
        "results": results,
        "keep": random_.random() < 0.5,
    }
    if random_.random() < 0.2:
        content.pop(random_.choice(list(content)))
    body = json.dumps(content).encode() + b"\n" + b"abcd" * random_.randrange(3)
    return server.head(len(body) + random_.choice([0, 0, 0, 1, -1, 50])) + body


def file(name: str, size: int) -> dict[str, Any]:
    return {"option": "field", "index": 0, "path": [name], "size": size}


KINDS: tuple[Callable[[random.Random, Any], bytes], ...] = (
    request_line,
    other_token,
    other_length,
    chunked,
    noise,
    mutated,
    described,
)


@pytest.mark.parametrize("n_requests", [30, pytest.param(1000, marks=pytest.mark.long)])
def test_malformed_requests_are_refused(start_server: Callable[..., Any], tmp_path: Any, n_requests: int) -> None:
    canary = tmp_path / "canary"
    canary.write_text("untouched")
    server, random_ = start_server(upload=10**6), random.Random(n_requests)
    for n in range(n_requests):
        content = KINDS[n % len(KINDS)](random_, server)
        answer = server.answer(content, patience=0.3)
        assert not answer or answer.startswith((START + b"4", START + b"5")), (content, answer)
        assert b"canary" not in answer and b"Traceback" not in answer and str(tmp_path).encode() not in answer
    assert server.client().info()["full"] is False
    server.require_empty()
    assert canary.read_text() == "untouched"
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(["canary", "token", server.folder.path.name])
    assert [line for line in server.said if "Traceback" in line] == []
