"""A journaled load by kombu. Its publish waits for the confirm, so a window is as many threads, each with a connection."""
import threading

import lines

END_S_MAX = 20


class Load:
    """Publishes until told to stop or until the connections go."""

    def __init__(self, connection, command):
        self.connection = connection
        self.topic, self.run_id = command["topic"], command["run"]
        self.bytes = command["bytes"]
        self.journal = lines.Journal(command["journal"])
        self.stopping = False
        self.lock = threading.Lock()
        self.sent = self.acked = self.failed = 0
        self.publishers = [threading.Thread(target=self.publish, daemon=True) for _ in range(command["window"])]

    def start(self):
        for publisher in self.publishers:
            publisher.start()
        threading.Thread(target=self.finish, daemon=True).start()

    def finish(self):
        for publisher in self.publishers:
            publisher.join()
        self.journal.close()
        lines.emit({"event": "load_end", "load": self.counts()})

    def end(self):
        self.stopping = True
        for publisher in self.publishers:
            publisher.join(END_S_MAX)
            if publisher.is_alive():
                raise TimeoutError("the load did not end")
        return self.counts()

    def counts(self):
        return {"sent": self.sent, "acked": self.acked, "failed": self.failed}

    def publish(self):
        with self.connection.clone() as opened:
            producer = opened.Producer()
            while not self.stopping:
                id_, body = self.next()
                try:
                    producer.publish(
                        body, routing_key=self.topic, delivery_mode=2, content_type="application/octet-stream", content_encoding="binary")
                except Exception as error:  # a refusal, or the connection went
                    self.failed_with(id_, error)
                    return
                self.confirmed(id_)

    def next(self):
        with self.lock:
            self.sent += 1
            id_ = f"{self.run_id}-{self.sent}"
            body = lines.load_body(id_, self.bytes)
            self.journal.sent(id_, body)
        return id_, body

    def confirmed(self, id_):
        self.journal.acked(id_)
        with self.lock:
            self.acked += 1
            if self.acked % lines.PROGRESS_EVERY == 0:
                lines.emit({"event": "load_progress", "acked": self.acked})

    def failed_with(self, id_, error):
        self.journal.failed(id_, error)
        with self.lock:
            self.failed += 1
