"""Raw garbage at a backend: bytes over sockets, around HTTP's rules, with and without the right key.

`python benchmarks/fuzz_server.py [--rounds 20000] [--seed 0] [--connections 8]` starts a backend in a process of its
own, sends it broken and odd requests over that many connections, one to three on each, and prints what was answered.
It fails when the server answers 5xx (other than a 503 that says `x-should-retry: true`), hangs, writes a traceback,
leaves a partial file, or does not serve a sound request afterwards.
"""

from __future__ import annotations

import argparse
import http.client
import random
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path

SERVER = """
import sys
from ragtune.local import serve
serve(sys.argv[1], trainer=[sys.executable, "-c", "pass"], on_start=lambda b: print(b.base_url, b.api_key, flush=True))
"""
PATHS = (
    "/v1/files /v1/files/file-x /v1/files/file-x/content /v1/uploads /v1/uploads/upload_x/parts /v1/models"
    " /v1/uploads/upload_x/complete /v1/uploads/upload_x/cancel /v1/fine_tuning/jobs /v1/fine_tuning/jobs/ftjob-x"
    " /v1/fine_tuning/jobs/ftjob-x/events /v1/fine_tuning/jobs/ftjob-x/checkpoints /v1/models/ft:a:b:c:d"
    " /v1/fine_tuning/jobs/ftjob-x/cancel /v1/chat/completions /v1/completions /v1/embeddings / /login /playground"
    " /jobs/ftjob-x /jobs/ftjob-x/live /usage /static/x /v1 * /v1/../../etc/passwd /v1/files/%2e%2e%2faccount.json"
).split()
METHODS = "GET POST DELETE PUT PATCH HEAD OPTIONS TRACE CONNECT get PRI".split()
BODIES = (
    b"",
    b"{}",
    b"[" * 50_000,
    b'{"a":' * 5_000 + b"1" + b"}" * 5_000,
    b'{"model": "tiny-random", "messages": [{"role": "user", "content": "\\ud800"}]}',
    b'{"model": "tiny-random", "messages": [{"role": "user", "content": "{{ self.__globals__ }}"}], "n": 1e999}',
    b'{"model": "tiny-random", "prompt": "x", "max_tokens": 1, "stop": ["\\u0000"]}',
    b'{"model": "tiny-random", "training_file": "../../account.json", "suffix": "\\r\\nx: y"}',
    b'{"bytes": 1e3, "filename": "\\u0000/../x", "purpose": "fine-tune", "mime_type": "x"}',
    b'{"bytes": 99999999999999999999999, "filename": "x", "purpose": "fine-tune", "mime_type": "x"}',
    b"\xff\xfe\x00" * 100,
    b'--x\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\nhello\r\n--x--\r\n',
    b'--x\r\nContent-Disposition: form-data; name="purpose"\r\n\r\nfine-tune\r\n--x\r\n' * 40,
    b"--x\r\n" + b"A: b\r\n" * 2000 + b"\r\n\r\n--x--",
    b"--x\r\nContent-Disposition: form-data; name=\"\xff\xff\"; filename*=utf-8''%ff%00\r\n\r\n\r\n--x--",
)
KINDS = (
    "application/json",
    "multipart/form-data; boundary=x",
    "multipart/form-data; boundary=",
    "text/plain",
    "\xff",
    "",
)


HEADERS = (
    ("Cookie", "ragtune_session=" + "x" * 50),
    ("Authorization", "Basic \xff"),
    ("Expect", "100-continue"),
    ("Upgrade", "websocket"),
    ("Connection", "upgrade, close"),
    ("X" * 9000, "y"),
    ("Range", "bytes=9-1"),
    ("Accept", "text/html"),
    ("Content-Encoding", "gzip"),
)
HOSTS = ["localhost"] * 12 + ["127.0.0.1:1", "evil.example", "", "["]


def request(random_: random.Random, key: str) -> bytes:
    """One request, more or less."""
    choose = random_.random
    path = random_.choice(PATHS)
    if choose() < 0.3:
        path += "?" + random_.choice(
            ["limit=-1", "after=%00", "limit=1&limit=2", "metadata[x]=%ff", "a" * 3000, "%", "&&=="]
        )
    body = random_.choice(BODIES)
    headers = [("Host", random_.choice(HOSTS))]
    if choose() < 0.85:
        headers.append(("Authorization", f"Bearer {key}"))
    if choose() < 0.2:
        headers.append(random_.choice(HEADERS))
    headers.append(("Content-Type", random_.choice(KINDS)))
    framing = choose()
    if framing < 0.7:
        headers.append(("Content-Length", str(len(body))))
    elif framing < 0.8:
        headers.append(("Content-Length", random_.choice(["-1", "1", "99999999999", "x", "1, 2", "0x10"])))
    elif framing < 0.95:
        headers.append(("Transfer-Encoding", random_.choice(["chunked", "chunked", "gzip", "chunked, chunked", "\t"])))
        body = b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body) if choose() < 0.6 else body
    version = random_.choice(["HTTP/1.1"] * 8 + ["HTTP/1.0", "HTTP/2.0", "HTTP/1.1 x"])
    lines = [f"{random_.choice(METHODS)} {path} {version}", *(f"{name}: {value}" for name, value in headers)]
    raw = bytearray("\r\n".join([*lines, "", ""]).encode("latin-1") + body)
    damage = choose()
    if damage < 0.15:
        for _ in range(random_.randint(1, 8)):
            raw[random_.randrange(len(raw))] = random_.randrange(256)
    elif damage < 0.25:
        del raw[random_.randrange(len(raw)) :]
    elif damage < 0.3:
        raw = bytearray(random_.randbytes(random_.randint(1, 5000)))
    return bytes(raw)


def send(port: int, raw: bytes) -> str:
    """What came back: a status, with how a 503 announces itself, or how the connection ended."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
            connection.sendall(raw)
            connection.shutdown(socket.SHUT_WR)
            answer = b""
            while len(answer) < 65536 and (piece := connection.recv(65536)):
                answer += piece
    except TimeoutError:
        return "hangs"
    except OSError:
        return "cut off"
    if not answer:
        return "closed"
    status = answer.split(b" ", 2)[1].decode("latin-1") if answer.startswith(b"HTTP/") else "no HTTP"
    if status == "503" and b"x-should-retry: true" not in answer.lower():
        return "503 unannounced"
    return status


def memory_mib(pid: int) -> float:
    """Resident memory of a process."""
    lines = Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) / 1024


def fuzz(port: int, key: str, *, rounds: int, seed: int, connections: int) -> Counter[str]:
    """Send so many requests from some threads; gives how often each outcome came."""
    outcomes: Counter[str] = Counter()
    lock = threading.Lock()

    def work(number: int) -> None:
        random_ = random.Random(f"{seed}-{number}")
        for _ in range(rounds // connections):
            raw = b"".join(request(random_, key) for _ in range(random_.choice([1, 1, 1, 2, 3])))
            outcome = send(port, raw)
            with lock:
                outcomes[outcome] += 1

    threads = [threading.Thread(target=work, args=(number,)) for number in range(connections)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return outcomes


def sound(port: int, key: str) -> bool:
    """Whether a sound request is answered."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request("GET", "/v1/models", headers={"Authorization": f"Bearer {key}"})
    well = connection.getresponse().status == 200
    connection.close()
    return well


def main() -> int:
    options = argparse.ArgumentParser()
    options.add_argument("--rounds", type=int, default=20_000)
    options.add_argument("--seed", type=int, default=0)
    options.add_argument("--connections", type=int, default=8)
    asked = options.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-c", SERVER, folder]
        log = Path(folder) / "log"
        with log.open("wb") as err, subprocess.Popen(command, stdout=subprocess.PIPE, stderr=err, text=True) as server:
            assert server.stdout is not None
            base_url, key = server.stdout.readline().split()
            port = int(base_url.rsplit(":", 1)[1].split("/")[0])
            begin = time.monotonic()
            # The first half warms up: caches fill, and the model is loaded.
            outcomes = fuzz(port, key, rounds=asked.rounds // 2, seed=asked.seed, connections=asked.connections)
            before = memory_mib(server.pid)
            outcomes += fuzz(port, key, rounds=asked.rounds // 2, seed=asked.seed + 1, connections=asked.connections)
            grown = memory_mib(server.pid) - before
            well, partial = sound(port, key), list((Path(folder) / "partial").iterdir())
            server.terminate()
            server.wait(30)
        stumbles = log.read_text(errors="replace").count("Traceback")
    bad = {
        name: number
        for name, number in outcomes.items()
        if name.startswith(("5", "hangs", "no HTTP")) and name != "503"
    }
    print(f"{sum(outcomes.values()):,} connections in {time.monotonic() - begin:.0f} s, seed {asked.seed}")
    print(", ".join(f"{name}: {number:,}" for name, number in sorted(outcomes.items())))
    print(f"bad: {bad or 'none'}; tracebacks in the log: {stumbles}; partial files left: {len(partial)}")
    print(f"sound request afterwards: {'served' if well else 'NOT SERVED'}; grown in the second half: {grown:.0f} MiB")
    return int(bool(bad or stumbles or partial or not well))


if __name__ == "__main__":
    sys.exit(main())
