"""Drives the programs of Debian's amqp-tools by JSON lines; ../README.md says which. Each is run as a shell script would.

They show the body of a message and nothing else, so a delivery is told without properties, key and tag.
"""
import base64
import os
import signal
import subprocess
import sys
import threading
import time

import amqp_message
import lines
from amqp_message import STOP_S_MAX
from lines import Unsupported

RUN_S_MAX = 20
START_S = 0.3
SETTLED_S = 0.3
DRAIN_PREFETCH = 500
# What amqp-consume runs for each message; it takes options of that for its own, so there are none.
ON_MESSAGE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "on-message.sh")

endpoint = None
consumers = {}


def run(program, *arguments, body=b""):
    done = subprocess.run([program, *server(), *arguments], input=body, capture_output=True, timeout=RUN_S_MAX)
    if done.returncode != 0:
        raise RuntimeError(f"{program} ended with {done.returncode}: {done.stderr.decode(errors='replace').strip()}")
    return done.stdout


def server():
    host, port = endpoint.rsplit(":", 1)
    return [f"--server={host}", f"--port={port}"]


def version(_command):
    told = subprocess.run(["dpkg-query", "-W", "-f=${Version}", "amqp-tools"], capture_output=True, text=True)
    return {"sdk": "amqp-tools", "version": told.stdout or "unknown"}


def connect(command):
    global endpoint
    endpoint = command["amqp"]


def create_topic(command):
    amqp_message.check_topic(command)
    run("amqp-declare-queue", "--durable", f"--queue={command['topic']}")


def publish(topic, message):
    headers = amqp_message.headers_of(message)
    if "key" in message:
        headers[amqp_message.KEYS_HEADER] = message["key"]  # it has no option for the message id
    options = [f"--header={name}: {value}" for name, value in headers.items()]
    run("amqp-publish", "--persistent", f"--routing-key={topic}", *options, body=lines.body_of(message))


def send(command):
    """amqp-publish knows no confirms; it ends when the broker has answered its close, so the messages are taken by then."""
    amqp_message.check_messages(command)
    if command["mode"] != "sync":
        raise Unsupported(f"amqp-publish has no {command['mode']} publish")
    for message in command["messages"]:
        publish(command["topic"], message)
    return {"receipts": [{} for _ in command["messages"]]}


class Consumer:
    """One amqp-consume, and the thread that answers what it runs for each message."""

    def __init__(self, topic, prefetch, take):
        """`take` gets each body, as base64; then the message is settled."""
        self.take = take
        self.prefetch = prefetch
        self.topic = topic
        self.last = time.monotonic()

    def start(self):
        bodies, told = os.pipe()
        asked, self.verdicts = os.pipe()
        self.process = subprocess.Popen(
            ["amqp-consume", *server(), f"--queue={self.topic}", f"--prefetch-count={self.prefetch}",
             ON_MESSAGE, str(told), str(asked)],
            stdin=subprocess.DEVNULL, stdout=sys.stderr, pass_fds=(told, asked))
        os.close(told)
        os.close(asked)
        self.thread = threading.Thread(target=self.listen, args=(bodies,), daemon=True)
        self.thread.start()
        time.sleep(START_S)  # it does not say when it consumes, only when it can't
        if self.process.poll() is not None:
            raise RuntimeError(f"amqp-consume ended with {self.process.returncode}")

    def listen(self, bodies):
        with open(bodies, "rb") as source:
            for line in source:
                self.take(line.strip())
                self.last = time.monotonic()
                try:
                    os.write(self.verdicts, b"0\n")
                except BrokenPipeError:
                    return  # it was ended meanwhile

    def idle_s(self):
        return time.monotonic() - self.last

    def stop(self):
        while self.process.poll() is None and self.idle_s() < SETTLED_S:
            time.sleep(0.02)  # it does not say when it has acknowledged, but does so at once
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(STOP_S_MAX)
        self.thread.join(STOP_S_MAX)
        os.close(self.verdicts)


def consume(command):
    amqp_message.check_consume(command)
    if command.get("hold"):
        raise Unsupported("amqp-consume settles by the exit code of what it runs for a message")
    if command.get("fail_times"):
        raise Unsupported("amqp-consume requeues nothing: a message whose command failed stays unsettled until the program ends")
    name = command["consumer"]

    def take(body):
        message = {"topic": command["topic"], "body": body.decode(), "outcome": "ack"}
        lines.emit({"event": "message", "consumer": name, "message": message})

    consumer = Consumer(command["topic"], command.get("prefetch", 10), take)
    consumer.start()
    consumers[name] = consumer


def stop(command):
    consumers.pop(command["consumer"]).stop()


def drain(command):
    journal = lines.Journal(command["journal"])
    count = 0

    def take(body):
        nonlocal count
        journal.received("-", "-", base64.b64decode(body), 1)
        count += 1

    consumer = Consumer(command["topic"], DRAIN_PREFETCH, take)
    consumer.start()
    while consumer.idle_s() < command["idle_ms"] / 1000:
        time.sleep(0.02)
    consumer.stop()
    journal.close()
    return {"count": count}


def no_settling(_command):
    raise Unsupported("amqp-consume settles by the exit code of what it runs for a message")


def no_confirms(_command):
    raise Unsupported("amqp-publish has no publisher confirms, so nothing tells what is acknowledged")


def reset(_command):
    for name in list(consumers):
        consumers.pop(name).stop()


if __name__ == "__main__":
    lines.serve({
        "hello": version, "connect": connect, "create_topic": create_topic, "send": send, "consume": consume, "settle": no_settling,
        "stop": stop, "load": no_confirms, "stop_load": no_confirms, "drain": drain, "reset": reset,
        "offsets": amqp_message.no_offsets, "seek_time": amqp_message.no_offsets,
    })
    sys.exit(0)
