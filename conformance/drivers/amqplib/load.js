// A journaled load by amqplib: a window of unconfirmed persistent messages on one channel.
'use strict';

const amqplib = require('amqplib');
const { Journal } = require('./journal');
const { emit } = require('./lines');

const PROGRESS_EVERY = 1000;

/** Publishes until told to stop or until the connection goes; this one does not come back. */
class Load {
  constructor({ topic, run, bytes, window, journal }) {
    Object.assign(this, { topic, run, bytes, window, journal: new Journal(journal) });
    Object.assign(this, { sent: 0, acked: 0, failed: 0, open: 0, stopping: false });
    this.ended = new Promise((resolve) => { this.finished = resolve; });
  }

  async start(url) {
    this.connection = await amqplib.connect(url);
    this.connection.on('error', (error) => console.error(String(error)));
    this.channel = await this.connection.createConfirmChannel();
    this.channel.on('error', (error) => console.error(String(error)));
    this.channel.on('close', () => { this.stopping = true; });
    setImmediate(() => this.fill());
  }

  fill() {
    while (!this.stopping && this.open < this.window) this.publish(`${this.run}-${this.sent + 1}`);
    if (this.stopping && this.open === 0) this.finish();
  }

  publish(id) {
    const body = Buffer.alloc(this.bytes, '.');
    body.write(`${id} `);
    this.sent += 1;
    this.open += 1;
    this.journal.sent(id, body);
    try {
      this.channel.publish('', this.topic, body, { persistent: true }, (error) => this.settled(id, error));
    } catch (error) { // the channel is closed
      setImmediate(() => this.settled(id, error));
    }
  }

  settled(id, error) {
    this.open -= 1;
    if (error) {
      this.failed += 1;
      this.journal.failed(id, error);
      this.stopping = true;
    } else {
      this.acked += 1;
      this.journal.acked(id);
      if (this.acked % PROGRESS_EVERY === 0) emit({ event: 'load_progress', acked: this.acked });
    }
    this.fill();
  }

  async finish() {
    if (this.closed) return;
    this.closed = true;
    this.journal.close();
    await this.connection.close().catch(() => {}); // it may have gone already
    emit({ event: 'load_end', load: this.counts() });
    this.finished(this.counts());
  }

  counts() {
    return { sent: this.sent, acked: this.acked, failed: this.failed };
  }

  end() {
    this.stopping = true;
    setImmediate(() => this.fill());
    return this.ended;
  }
}

module.exports = { Load };
