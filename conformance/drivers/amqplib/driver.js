// Drives amqplib by JSON lines; ../README.md says which. Commands are carried out here; lines.js reads them.
'use strict';

const amqplib = require('amqplib');
const fs = require('node:fs');
const { Journal, Load, Unsupported, emit, serve, silence, unsupported } = require('./lines');

const TAG_HEADER = 'x-tag';
const KEYS_HEADER = 'x-keys';
const ATTEMPT_HEADER = 'x-delivery-count';
const BACKOFF_MS = 200; // an AMQP requeue comes back at once
const DRAIN_PREFETCH = 500;
const RECOVERY = { initialDelay: 100, maxDelay: 500 };

let endpoint;
let producer;
let load;
const consumers = new Map();

const pause = (ms) => new Promise((done) => setTimeout(done, ms));

/** A connection that comes back by itself; `setup` makes again what belongs to it. */
async function connection(setup) {
  const made = await amqplib.connect(`amqp://guest:guest@${endpoint}/`, { recovery: { ...RECOVERY, setup } });
  made.on('error', (error) => console.error(String(error)));
  return made;
}

/** A channel whose error is told by the calls on it that fail. */
async function quiet(opening) {
  const channel = await opening;
  channel.on('error', (error) => console.error(String(error)));
  return channel;
}

/** One connection with a channel that confirms, opened again when it was closed. */
class Producer {
  async confirming() {
    this.connection ??= await connection();
    if (!this.channel) {
      const channel = await quiet(this.connection.createConfirmChannel());
      channel.on('close', () => { this.channel = undefined; });
      this.channel = channel;
    }
    return this.channel;
  }

  /** Resolves when the broker has confirmed. */
  async publish(topic, message) {
    const channel = await this.confirming();
    await new Promise((resolve, reject) => {
      const settled = (error) => (error ? reject(error) : resolve());
      channel.publish('', topic, bodyOf(message), { ...propertiesOf(message), mandatory: true }, settled);
    });
  }

  async publishOneway(topic, messages) {
    await this.confirming();
    const channel = await quiet(this.connection.createChannel());
    messages.forEach((message) => channel.publish('', topic, bodyOf(message), propertiesOf(message)));
    await channel.close();
  }
}

const bodyOf = (message) => Buffer.from(message.body, 'base64');

function propertiesOf(message) {
  const headers = { ...message.properties };
  if (message.tag !== undefined) headers[TAG_HEADER] = message.tag;
  return { headers, messageId: message.key, persistent: true };
}

async function createTopic({ topic, queues }) {
  if (queues !== 1) throw new Unsupported("an AMQP queue is one sequence; several queues are another protocol's");
  await (await (producer ??= new Producer()).confirming()).assertQueue(topic, { durable: true });
}

async function send({ topic, mode, messages }) {
  if (messages.some((message) => message.queue)) throw new Unsupported('an AMQP queue is one sequence');
  producer ??= new Producer();
  if (mode === 'sync') {
    for (const message of messages) await producer.publish(topic, message);
  } else if (mode === 'async') {
    await Promise.all(messages.map((message) => producer.publish(topic, message)));
  } else if (mode === 'oneway') {
    await producer.publishOneway(topic, messages);
    return { receipts: [] };
  } else {
    throw new Unsupported(`amqplib has no ${mode} publish`);
  }
  return { receipts: messages.map(() => ({})) };
}

/** One connection with one consumer, made again after the connection came back. */
class Consumer {
  constructor(command) {
    this.command = command;
    this.seen = new Map();
    this.held = new Map();
    this.working = new Set();
  }

  async start() {
    this.connection = await connection(async (model) => {
      const channel = await quiet(model.createChannel());
      await channel.prefetch(this.command.prefetch ?? 10);
      this.channel = channel;
      this.tag = (await channel.consume(this.command.topic, (message) => this.take(channel, message))).consumerTag;
    });
  }

  take(channel, message) {
    if (message === null) {
      emit({ event: 'consumer_error', consumer: this.command.consumer, error: 'cancelled by the broker' });
      return;
    }
    const work = this.arrived(channel, message).catch((error) => console.error(String(error)));
    this.working.add(work);
    work.finally(() => this.working.delete(work));
  }

  async arrived(channel, message) {
    const outcome = this.judge(message);
    emit({ event: 'message', consumer: this.command.consumer, message: describe(message, outcome) });
    if (outcome === 'ack') {
      channel.ack(message);
    } else if (outcome === 'fail') {
      await pause(BACKOFF_MS);
      channel.nack(message, false, true);
    } else {
      this.held.set(String(message.fields.deliveryTag), message);
    }
  }

  judge(message) {
    const identity = `${message.properties.messageId} ${message.content.toString('base64')}`;
    const times = (this.seen.get(identity) ?? 0) + 1;
    this.seen.set(identity, times);
    const { fail_times: failTimes = 0, hold = false } = this.command;
    if (hold) return 'held';
    return failTimes >= 0 && times > failTimes ? 'ack' : 'fail';
  }

  async settle(receipts, outcome) {
    for (const receipt of receipts) {
      const message = this.held.get(receipt);
      this.held.delete(receipt);
      if (outcome === 'ack') this.channel.ack(message);
      else this.channel.nack(message, false, outcome === 'requeue');
    }
    // The client writes later; behind an answer to another method of the channel it has written.
    await this.channel.checkQueue(this.command.topic);
  }

  async stop() {
    await this.channel.cancel(this.tag);
    await Promise.all(this.working);
    await this.channel.close();
    await this.connection.close();
  }
}

function describe(message, outcome) {
  const { [TAG_HEADER]: tag, [KEYS_HEADER]: keys, [ATTEMPT_HEADER]: attempt, ...headers } = message.properties.headers ?? {};
  return {
    message_id: message.properties.messageId, topic: message.fields.routingKey, body: message.content.toString('base64'),
    properties: headers, tag, key: keys ?? message.properties.messageId, redelivered: message.fields.redelivered,
    attempt: attempt === undefined ? undefined : attempt + 1, outcome, receipt: String(message.fields.deliveryTag),
  };
}

async function consume(command) {
  if ((command.from ?? 'earliest') !== 'earliest') throw new Unsupported('an AMQP queue has no offsets');
  if ((command.tag ?? '*') !== '*') throw new Unsupported('an AMQP consumer has no filter; bindings have');
  const consumer = new Consumer(command);
  await consumer.start();
  consumers.set(command.consumer, consumer);
}

async function settle({ consumer, receipts, outcome }) {
  await consumers.get(consumer).settle(receipts, outcome);
}

async function stop({ consumer }) {
  const stopped = consumers.get(consumer);
  consumers.delete(consumer);
  await stopped.stop();
}

async function startLoad(command) {
  const opened = await connection();
  const channel = await quiet(opened.createConfirmChannel());
  load = new Load(command, (body) => new Promise((resolve, reject) => {
    channel.publish('', command.topic, body, { persistent: true }, (error) => (error ? reject(error) : resolve({})));
  }));
  load.done.then(() => opened.close()).catch(() => {}); // it may have gone already
}

async function drain({ topic, journal: path, idle_ms: idleMs }) {
  const journal = new Journal(path);
  const opened = await connection();
  const channel = await quiet(opened.createChannel());
  await channel.prefetch(DRAIN_PREFETCH);
  let count = 0;
  let last = Date.now();
  await channel.consume(topic, (message) => {
    journal.received('-', '-', message.content, message.fields.redelivered ? 2 : 1);
    channel.ack(message);
    count += 1;
    last = Date.now();
  });
  await silence(() => last, idleMs);
  await channel.close();
  await opened.close();
  journal.close();
  return { count };
}

async function reset() {
  for (const name of [...consumers.keys()]) await stop({ consumer: name });
  await producer?.connection?.close();
  producer = undefined;
}

const noOffsets = unsupported('an AMQP queue has no offsets');
// The package does not export its package.json, so it is found beside the code.
const packageFile = require.resolve('amqplib').replace(/[^/]+$/, 'package.json');

serve({
  hello: () => ({ sdk: 'amqplib', version: JSON.parse(fs.readFileSync(packageFile)).version }),
  connect: ({ amqp }) => { endpoint = amqp; },
  create_topic: createTopic, send, consume, settle, stop, load: startLoad, stop_load: () => load.stop(), drain, reset,
  offsets: noOffsets, seek_time: noOffsets,
});
