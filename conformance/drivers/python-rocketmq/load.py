"""The journaled load: one thread that sends a message and waits for its answer. Knows nothing of the SDK.

The window is not used: two threads that send through the C++ client 1.x at the same time end the process.
"""
import threading

import lines

FAILURES_MAX = 100
END_S_MAX = 40


class Load:
    """Sends until told to stop or the broker is gone."""

    def __init__(self, command, send):
        self.command = command
        self.send = send
        self.stopping = False
        self.counts = {"sent": 0, "acked": 0, "failed": 0}
        self.journal = lines.Journal(command["journal"])
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self):
        failed_in_row = 0
        while not self.stopping and failed_in_row < FAILURES_MAX:
            id_ = f"{self.command['run']}-{self.counts['sent']}"
            failed_in_row = 0 if self.send_one(id_) else failed_in_row + 1
        self.journal.close()
        lines.emit({"event": "load_end", "load": self.counts})

    def send_one(self, id_):
        """Whether it was acknowledged."""
        body = lines.load_body(id_, self.command["bytes"])
        self.journal.sent(id_, body)
        self.counts["sent"] += 1
        try:
            receipt = self.send(body)
        except Exception as error:  # whatever went wrong is journaled
            self.journal.failed(id_, error)
            self.counts["failed"] += 1
            return False
        self.journal.acked(id_, offset=receipt["offset"])
        self.counts["acked"] += 1
        if self.counts["acked"] % lines.PROGRESS_EVERY == 0:
            lines.emit({"event": "load_progress", "acked": self.counts["acked"]})
        return True

    def end(self):
        self.stopping = True
        self.thread.join(END_S_MAX)
        if self.thread.is_alive():
            raise TimeoutError("the load did not end")
        return self.counts
