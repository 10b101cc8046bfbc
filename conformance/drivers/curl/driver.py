"""Drives the REST API by the program curl, by JSON lines; ../README.md says which. Every request is one run of curl."""
import base64
import json
import subprocess
import sys
import threading
import urllib.parse
import uuid

import lines
from lines import Unsupported

REQUEST_S_MAX = 20
RECEIVE_WAIT_MS = 1_000
RECEIVE_MAX = 32
READ_MAX = 1_000
LEASE_MS_DEFAULT = 10_000
REQUEUE_DELAY_MS = 300  # a group's own backoff would only make the scenarios slow
LOAD_BATCH = 50
TRACE_TOPIC = "MAILRAIL_SYS_TRACE_TOPIC"
LOAD_FAILURES_MAX = 5

endpoint = None
who = []
trusted = []
consumers = {}
load = None


class Refused(Exception):
    """The broker answered with an error; the text is its problem document."""

    def __init__(self, status, text):
        super().__init__(f"HTTP {status}: {text}")
        self.status = status


def curl(method, path, body=None, content_type="application/json", query=None):
    """One request; gives the decoded JSON of a 2xx answer, None if it has no body."""
    url = f"{'https' if trusted else 'http'}://{endpoint}/v1/{path}"
    if query:
        url += "?" + urllib.parse.urlencode(query)
    arguments = ["curl", "-sS", "--max-time", str(REQUEST_S_MAX), "-X", method, "-w", "\n%{http_code}", *who, *trusted, url]
    if body is not None:
        arguments += ["-H", f"Content-Type: {content_type}", "-H", "Expect:", "--data-binary", "@-"]
    done = subprocess.run(arguments, input=body or b"", capture_output=True, timeout=REQUEST_S_MAX + 5, check=False)
    if done.returncode != 0:
        raise ConnectionError(f"curl ended with {done.returncode}: {done.stderr.decode().strip()}")
    text, status = done.stdout.decode().rsplit("\n", 1)
    if not 200 <= int(status) < 300:
        raise Refused(int(status), text)
    return json.loads(text) if text.strip() else None


def call(method, path, document=None, query=None):
    return curl(method, path, None if document is None else json.dumps(document).encode(), query=query)


def part(name):
    return urllib.parse.quote(name, safe="")


def group_path(command):
    return f"topics/{part(command['topic'])}/groups/{part(command['group'])}"


def connect(command):
    global endpoint, who, trusted
    endpoint = command["http"]
    who = ["-u", f"{command['user']}:{command['secret']}"] if "user" in command else []
    trusted = ["--cacert", command["tls"]] if "tls" in command else []


def create_topic(command):
    settings = {name: command[name] for name in ("queues", "lite", "trace_sample", "deduplication_window_ms") if name in command}
    call("PUT", f"topics/{part(command['topic'])}", settings)


def document_of(message):
    """A message as the API takes it; bodies that are text travel as text, so that both forms are used."""
    document = {name: message[name] for name in ("properties", "tag", "queue", "ordering_key", "lite") if name in message}
    if "key" in message:
        document["keys"] = [message["key"]]
    body = lines.body_of(message)
    try:
        document["body"] = body.decode()
    except UnicodeDecodeError:
        document["body_base64"] = message["body"]
    return document


def publish(path, messages):
    """Receipts of messages in a JSON document; a part that was not stored is an error."""
    answer = call("POST", path, {"messages": messages})
    if answer.get("errors"):
        raise Refused(207, json.dumps(answer["errors"]))
    return answer["messages"]


def settle_receipts(path, verdicts):
    answer = call("POST", f"{path}/settle", {**verdicts, "requeue_delay_ms": REQUEUE_DELAY_MS})
    if answer["failed"]:
        raise Refused(200, json.dumps(answer["failed"]))


def send(command):
    path = f"topics/{part(command['topic'])}/messages"
    receipts = []
    if command["mode"] == "batch":
        receipts = publish(path, [document_of(message) for message in command["messages"]])
    elif command["mode"] == "sync":
        for message in command["messages"]:
            if set(message) <= {"body", "tag", "queue"}:
                query = {name: message[name] for name in ("tag", "queue") if name in message}
                receipts += curl("POST", path, lines.body_of(message), "application/octet-stream", query)["messages"]
            else:
                document = document_of(message)
                if "again" in message:
                    document["deduplication_key"] = str(uuid.uuid4())
                for _ in range(1 + message.get("again", 0)):
                    receipts += publish(path, [document])
    else:
        raise Unsupported(f"curl has no {command['mode']} send")
    return {"receipts": [{"message_id": r["id"], "queue": r["queue"], "offset": r["offset"], "durability": r["durability"]} for r in receipts]}


def body_of(delivery):
    return base64.b64decode(delivery["body_base64"]) if "body_base64" in delivery else delivery["body"].encode()


def fields_of(message):
    return {
        "message_id": message["id"], "topic": message["topic"], "queue": message["queue"], "offset": message["offset"],
        "body": lines.text_of(body_of(message)), "properties": message.get("properties") or {}, "tag": message.get("tag"),
        "key": " ".join(message.get("keys") or []) or None,
    }


class Consumer(threading.Thread):
    """Receives, reports, and settles, until stopped."""

    def __init__(self, command):
        super().__init__(daemon=True)
        self.command = command
        self.stopping = threading.Event()

    def run(self):
        path = group_path(self.command)
        wanted = {"max": self.command.get("prefetch", RECEIVE_MAX), "wait_ms": RECEIVE_WAIT_MS,
                  "lease_ms": self.command.get("lease_ms", LEASE_MS_DEFAULT)}
        while not self.stopping.is_set():
            try:
                deliveries = call("POST", f"{path}/receive", wanted)["messages"]
                self.handle(path, deliveries)
            except (ConnectionError, Refused, KeyError, ValueError) as error:
                lines.emit({"event": "consumer_error", "consumer": self.command["consumer"], "error": f"{type(error).__name__}: {error}"})
                self.stopping.wait(0.5)

    def handle(self, path, deliveries):
        verdicts = {"ack": [], "requeue": []}
        for delivery in deliveries:
            message, receipt = delivery["message"], delivery["receipt"]
            fail_times = self.command.get("fail_times", 0)
            ok = fail_times >= 0 and delivery["attempt"] > fail_times
            outcome = "held" if self.command.get("hold") else "ack" if ok else "fail"
            fields = {
                **fields_of(message), "attempt": delivery["attempt"], "redelivered": delivery["attempt"] > 1,
                "receipt": receipt, "outcome": outcome,
            }
            lines.emit({"event": "message", "consumer": self.command["consumer"], "message": fields})
            if outcome != "held":
                verdicts["ack" if ok else "requeue"].append(receipt)
        if any(verdicts.values()):
            settle_receipts(path, verdicts)

    def stop(self):
        self.stopping.set()
        self.join(REQUEST_S_MAX)


class Stream(threading.Thread):
    """Reports what a stream of events brings, until stopped. A stream has no group: there is nothing to settle."""

    def __init__(self, command):
        super().__init__(daemon=True)
        self.command = command
        query = {"from": command.get("from", "earliest"), "sql": command["sql"]}
        # A wrong expression is refused here: a stream that is refused ends with no more than an exit code.
        call("GET", f"topics/{part(command['topic'])}/queues/0/messages", query={**query, "max": 1})
        url = f"http://{endpoint}/v1/topics/{part(command['topic'])}/events?{urllib.parse.urlencode(query)}"
        self.curl = subprocess.Popen(["curl", "-sS", "-f", "-N", url], stdout=subprocess.PIPE, text=True)

    def run(self):
        for line in self.curl.stdout:
            if line.startswith("data: "):
                fields = {**fields_of(json.loads(line.removeprefix("data: "))), "attempt": 1, "redelivered": False, "outcome": "ack"}
                lines.emit({"event": "message", "consumer": self.command["consumer"], "message": fields})

    def stop(self):
        self.curl.terminate()
        self.curl.wait()
        self.join(REQUEST_S_MAX)


def consume(command):
    if "sql" in command:
        consumers[command["consumer"]] = Stream(command)
        consumers[command["consumer"]].start()
        return
    if command.get("tag", "*") != "*":
        raise Unsupported("a REST receive has no filter")
    start = command.get("from", "earliest")
    if start != "earliest":
        raise Unsupported("a REST group starts at the earliest message; seek moves it")
    if "max_attempts" in command:
        call("PUT", group_path(command), {"max_attempts": command["max_attempts"]})
    consumer = Consumer(command)
    consumers[command["consumer"]] = consumer
    consumer.start()


def settle(command):
    consumer = consumers[command["consumer"]]
    settle_receipts(group_path(consumer.command), {command["outcome"]: command["receipts"]})


def stop(command):
    consumers.pop(command["consumer"]).stop()


def offsets(command):
    queues = call("GET", group_path(command))["queues"]
    return {"queues": [{"queue": q["queue"], "min": q["min"], "max": q["max"], "committed": q["committed"]} for q in queues]}


def seek_time(command):
    call("POST", f"{group_path(command)}/seek", {"time_ms": command["time_ms"]})


def find(command):
    query = {name: command[name] for name in ("topic", "key", "max")}
    found = call("GET", "messages", query=query)["messages"]
    return {"messages": [{"body": lines.text_of(body_of(message))} for message in found]}


class Load(threading.Thread):
    """Sends batches, `window` of them at a time, each by one run of curl."""

    def __init__(self, command):
        super().__init__(daemon=True)
        self.command = command
        self.journal = lines.Journal(command["journal"])
        self.stopping = threading.Event()
        self.lock = threading.Lock()
        self.sent = self.acked = self.failed = self.failed_in_row = 0

    def run(self):
        workers = [threading.Thread(target=self.work, daemon=True) for _ in range(self.command["window"])]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        self.journal.close()
        lines.emit({"event": "load_end", "load": self.counts()})

    def counts(self):
        return {"sent": self.sent, "acked": self.acked, "failed": self.failed}

    def work(self):
        path = f"topics/{part(self.command['topic'])}/messages"
        while not self.stopping.is_set() and self.failed_in_row < LOAD_FAILURES_MAX:
            with self.lock:
                ids = [f"{self.command['run']}-{self.sent + i}" for i in range(1, LOAD_BATCH + 1)]
                self.sent += LOAD_BATCH
            bodies = [lines.load_body(id_, self.command["bytes"]) for id_ in ids]
            for id_, body in zip(ids, bodies):
                self.journal.sent(id_, body)
            try:
                receipts = publish(path, [{"body": body.decode()} for body in bodies])
            except (ConnectionError, Refused, ValueError, subprocess.TimeoutExpired) as error:
                self.settle_failed(ids, error)
                continue
            self.settle_acked(ids, receipts)

    def settle_acked(self, ids, receipts):
        for id_, receipt in zip(ids, receipts, strict=True):
            self.journal.acked(id_, receipt["durability"], receipt["queue"], receipt["offset"])
        with self.lock:
            before = self.acked // lines.PROGRESS_EVERY
            self.acked += len(ids)
            self.failed_in_row = 0
            if self.acked // lines.PROGRESS_EVERY > before:
                lines.emit({"event": "load_progress", "acked": self.acked})

    def settle_failed(self, ids, error):
        for id_ in ids:
            self.journal.failed(id_, error)
        with self.lock:
            self.failed += len(ids)
            self.failed_in_row += 1

    def end(self):
        self.stopping.set()
        self.join(REQUEST_S_MAX * 2)
        if self.is_alive():
            raise TimeoutError("the load did not end")
        return self.counts()


def start_load(command):
    global load
    load = Load(command)
    load.start()


def stop_load(_command):
    return load.end()


def drain(command):
    """Reads every queue by offset from its first message to where it ends now."""
    journal = lines.Journal(command["journal"])
    topic = f"topics/{part(command['topic'])}"
    count = 0
    for queue in range(call("GET", topic)["queues"]):
        start = "earliest"
        while True:
            page = call("GET", f"{topic}/queues/{queue}/messages", query={"from": start, "max": READ_MAX, "wait_ms": 0})
            if not page["messages"]:
                break
            for message in page["messages"]:
                journal.received(queue, message["offset"], body_of(message), 1)
                count += 1
            start = f"offset:{page['messages'][-1]['offset'] + 1}"
    journal.close()
    return {"count": count}


def reset(_command):
    for name in list(consumers):
        consumers.pop(name).stop()


def version():
    return subprocess.run(["curl", "--version"], capture_output=True, text=True, check=True).stdout.split()[1]


def traces(command):
    """Of each message of a topic that is traced: its steps, each with how and over which protocol, as far as that is known."""
    try:
        page = call("GET", f"topics/{TRACE_TOPIC}/queues/0/messages", query={"from": "earliest", "max": READ_MAX})
    except Refused as refused:
        if refused.status != 404:
            raise
        return {"traces": []}  # nothing was traced yet
    found = []
    for step in page["messages"]:
        if step["tag"] == "stored" and step["properties"]["topic"] == command["topic"]:
            # An id is the broker's address and the message's position.
            message_id = step["id"][:-16] + step["properties"]["position"]
            events = call("GET", f"messages/{message_id}/trace")["events"]
            steps = [(event["stage"], event.get("how"), event.get("by", {}).get("protocol")) for event in events]
            found.append([" ".join(word for word in step if word) for step in steps])
    return {"traces": found}


if __name__ == "__main__":
    lines.serve({
        "hello": lambda _: {"sdk": "curl", "version": version()}, "connect": connect, "create_topic": create_topic, "send": send,
        "consume": consume, "settle": settle, "stop": stop, "offsets": offsets, "seek_time": seek_time, "find": find, "traces": traces,
        "load": start_load, "stop_load": stop_load, "drain": drain, "reset": reset,
    })
    sys.exit(0)
