"""Reads commands and writes answers for the drivers in Python, and keeps their journals. Knows nothing of any protocol.

README.md beside this file says what the lines are.
"""
import base64
import json
import sys
import threading
import time
import zlib

LIMIT_MS_DEFAULT = 30_000
PROGRESS_EVERY = 1_000

_out_lock = threading.Lock()


class Unsupported(Exception):
    """A command that this SDK cannot carry out, with the reason that goes into the table of results."""


def emit(line):
    emit_text(json.dumps(line, separators=(",", ":")) + "\n")


def emit_text(text):
    """A whole line that was made elsewhere."""
    with _out_lock:
        sys.stdout.write(text)
        sys.stdout.flush()


def serve(commands):
    """Answers each command by the function of its name until standard input ends, then resets."""
    for text in sys.stdin:
        command = json.loads(text)
        emit({"id": command["id"], **answer(commands, command)})
    commands["reset"]({})


def answer(commands, command):
    result = {}

    def work():
        try:
            run = commands.get(command["cmd"])
            if run is None:
                raise Unsupported("no command " + command["cmd"])
            result["ok"] = run(command) or {}
        except Unsupported as reason:
            result["unsupported"] = str(reason)
        except Exception as error:  # whatever went wrong is the answer
            result["error"] = f"{type(error).__name__}: {error}"

    limit_ms = command.get("limit_ms", LIMIT_MS_DEFAULT)
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join(limit_ms / 1000)
    if thread.is_alive():
        return {"error": f"not done within {limit_ms} ms"}
    return result


def body_of(message):
    return base64.b64decode(message["body"])


def text_of(body):
    return base64.b64encode(body).decode()


def now_ms():
    return int(time.time() * 1000)


class Journal:
    """Lines for the offline checker; whole even when several threads write."""

    def __init__(self, path):
        self._file = open(path, "w", buffering=1 << 16)
        self._lock = threading.Lock()

    def line(self, text):
        with self._lock:
            self._file.write(text + "\n")

    def sent(self, id_, body):
        self.line(f"S {id_} {zlib.crc32(body):08x} {now_ms()}")

    def acked(self, id_, level="disk", queue="-", offset="-"):
        self.line(f"A {id_} {level} {now_ms()} {queue} {offset}")

    def failed(self, id_, reason):
        self.line(f"F {id_} {now_ms()} " + str(reason).replace("\n", " "))

    def received(self, queue, offset, body, attempt):
        id_ = body.split(b" ", 1)[0].decode("ascii", "replace") or "?"
        self.line(f"R {queue} {offset} {id_} {zlib.crc32(body):08x} {attempt} {now_ms()}")

    def close(self):
        with self._lock:
            self._file.close()


def load_body(id_, size):
    body = id_.encode() + b" "
    return body + b"." * (size - len(body))
