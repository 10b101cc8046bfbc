"""A journaled load over pika's asynchronous connection: a window of unconfirmed persistent messages."""
import threading

import pika

import lines

END_S_MAX = 20


class Load(threading.Thread):
    """Publishes until told to stop or until the connection goes. Everything runs on the connection's loop, in this thread."""

    def __init__(self, endpoint, command):
        super().__init__(daemon=True)
        self.endpoint = endpoint
        self.topic, self.run_id = command["topic"], command["run"]
        self.bytes, self.window = command["bytes"], command["window"]
        self.journal = lines.Journal(command["journal"])
        self.stopping = False
        self.sent = self.acked = self.failed = 0
        self.confirmed = 0  # the delivery tag up to which everything is settled
        self.open = set()  # delivery tags without confirm

    def run(self):
        host, port = self.endpoint.rsplit(":", 1)
        self.connection = pika.SelectConnection(
            pika.ConnectionParameters(host, int(port)), on_open_callback=lambda c: c.channel(on_open_callback=self.opened),
            on_open_error_callback=self.gone, on_close_callback=self.gone)
        self.connection.ioloop.start()
        for tag in sorted(self.open):
            self.fail(tag, "the connection went before the confirm")
        self.journal.close()
        lines.emit({"event": "load_end", "load": self.counts()})

    def end(self):
        self.connection.ioloop.add_callback_threadsafe(self.drain)
        self.join(END_S_MAX)
        if self.is_alive():
            raise TimeoutError("the load did not end")
        return self.counts()

    def counts(self):
        return {"sent": self.sent, "acked": self.acked, "failed": self.failed}

    def opened(self, channel):
        self.channel = channel
        channel.confirm_delivery(self.settled, callback=lambda _frame: self.fill())

    def fill(self):
        while not self.stopping and len(self.open) < self.window and self.channel.is_open:
            self.sent += 1
            id_ = f"{self.run_id}-{self.sent}"
            body = lines.load_body(id_, self.bytes)
            self.journal.sent(id_, body)
            self.open.add(self.sent)
            self.channel.basic_publish("", self.topic, body, pika.BasicProperties(delivery_mode=pika.DeliveryMode.Persistent))

    def settled(self, frame):
        method = frame.method
        last = method.delivery_tag
        tags = [tag for tag in sorted(self.open) if tag <= last] if method.multiple else [last]
        for tag in tags:
            if isinstance(method, pika.spec.Basic.Ack):
                self.open.remove(tag)
                self.acked += 1
                self.journal.acked(f"{self.run_id}-{tag}")
                if self.acked % lines.PROGRESS_EVERY == 0:
                    lines.emit({"event": "load_progress", "acked": self.acked})
            else:
                self.open.remove(tag)
                self.fail(tag, "nack")
        if self.stopping and not self.open:
            self.connection.close()
        else:
            self.fill()

    def fail(self, tag, reason):
        self.failed += 1
        self.journal.failed(f"{self.run_id}-{tag}", reason)

    def drain(self):
        self.stopping = True
        if not self.open and self.connection.is_open:
            self.connection.close()

    def gone(self, _connection, _reason):
        self.connection.ioloop.stop()
