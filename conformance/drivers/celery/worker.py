"""A Celery worker with one pool process, as a child of the driver; hands the event lines of its task on."""
import os
import subprocess
import sys
import threading

import lines

START_S_MAX = 25
STOP_S_MAX = 15


class Worker:
    """In the driver's process group, so whoever ends the driver ends it."""

    def __init__(self, endpoint, command):
        here = os.path.dirname(os.path.abspath(__file__))
        environment = {
            **os.environ, "CONFORMANCE_BROKER": f"amqp://guest:guest@{endpoint}//", "CONFORMANCE_CONSUMER": command["consumer"],
            "PYTHONPATH": here, "PYTHONUNBUFFERED": "1",
        }
        self.ready = threading.Event()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "celery", "-A", "tasks", "worker", "--queues", command["topic"], "--concurrency", "1",
             "--loglevel", "info"],
            cwd=here, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        threading.Thread(target=self.hand_on, daemon=True).start()
        threading.Thread(target=self.watch, daemon=True).start()

    def hand_on(self):
        for line in self.process.stdout:
            if line.startswith('{"event":'):
                lines.emit_text(line)

    def watch(self):
        """Its log, which says when it is ready."""
        for line in self.process.stderr:
            sys.stderr.write(line)
            if line.rstrip().endswith("ready."):
                self.ready.set()

    def await_ready(self):
        if not self.ready.wait(START_S_MAX):
            self.process.kill()
            raise TimeoutError("the worker was not ready in time")

    def stop(self):
        self.process.terminate()
        self.process.wait(STOP_S_MAX)
