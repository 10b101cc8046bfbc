// Drives the npm package rocketmq-nodejs, the RocketMQ C++ client 2.x as an addon, by JSON lines; ../README.md says which.
'use strict';

const { Producer, PushConsumer } = require('rocketmq-nodejs');
const { Journal, Load, Unsupported, emit, serve, silence, unsupported } = require('./lines');

const SEND_TIMEOUT_MS = 10_000;
const MESSAGE_BYTES_MAX = 4 << 20;
const CONSUME_THREADS = 4;
const NO_CALL = 'the package has no such call';

let address;
let producer;
let load;
let instances = 0;
const consumers = new Map();

function options(more) {
  return { nameServer: address, logLevel: 'error', ...more };
}

function instance() {
  return `${process.pid}-${++instances}`;
}

async function currentProducer() {
  if (!producer) {
    const more = { sendMessageTimeout: SEND_TIMEOUT_MS, maxMessageSize: MESSAGE_BYTES_MAX };
    const made = new Producer(`conformance_producer_${process.pid}`, instance(), options(more));
    await made.start();
    producer = made;
  }
  return producer;
}

async function sendOne(topic, wanted) {
  if (wanted.queue !== undefined || wanted.ordering_key !== undefined) throw new Unsupported('the package has no queue selector');
  if (Object.keys(wanted.properties ?? {}).length) throw new Unsupported('the package sends no properties');
  const fields = {};
  if (wanted.tag !== undefined) fields.tags = wanted.tag;
  if (wanted.key !== undefined) fields.keys = wanted.key;
  const result = await (await currentProducer()).send(topic, Buffer.from(wanted.body, 'base64'), fields);
  if (result.status !== 0) throw new Error('send status ' + result.statusStr);
  return { message_id: result.msgId, offset: result.offset };
}

async function send({ topic, mode, messages }) {
  if (mode === 'async') return { receipts: await Promise.all(messages.map(wanted => sendOne(topic, wanted))) };
  if (mode !== 'sync') throw new Unsupported(`the package has no ${mode} send`);
  const receipts = [];
  for (const wanted of messages) receipts.push(await sendOne(topic, wanted));
  return { receipts };
}

async function startLoad(command) {
  const sender = await currentProducer();
  load = new Load(command, async body => {
    const result = await sender.send(command.topic, body, {});
    if (result.status !== 0) throw new Error('send status ' + result.statusStr);
    return { offset: result.offset };
  });
}

// The package shows a body as text only.
function bodyOf(message) {
  return Buffer.from(message.body ?? '');
}

async function openConsumer(command, onMessage) {
  if (command.from === 'latest' || command.from?.startsWith('time:')) {
    // Left alone it takes up a new group where the broker says, which is at the first message that was ever stored.
    throw new Unsupported('the package has no setting for where a new group begins');
  }
  const more = { threadCount: CONSUME_THREADS, maxBatchSize: 1 };
  if (command.max_attempts) more.maxReconsumeTimes = command.max_attempts - 1;
  const consumer = new PushConsumer(command.group, instance(), options(more));
  consumer.subscribe(command.topic, command.tag ?? '*');
  consumer.on('message', onMessage);
  await consumer.start();
  return consumer;
}

async function consume(command) {
  if (command.hold) throw new Unsupported('the package asks for the outcome before it gives the next message');
  if (command.mode === 'orderly') throw new Unsupported('the package has no orderly consumer');
  if (consumers.has(command.consumer)) throw new Error(`consumer ${command.consumer} exists`);
  const failTimes = command.fail_times ?? 0;
  // The package does not tell the attempt; the message id stays the same over all of them.
  const seen = new Map();
  consumers.set(command.consumer, await openConsumer(command, (message, ack) => {
    const times = (seen.get(message.msgId) ?? 0) + 1;
    seen.set(message.msgId, times);
    const ok = failTimes >= 0 && times > failTimes;
    const fields = {
      message_id: message.msgId, topic: message.topic, body: bodyOf(message).toString('base64'), tag: message.tags || null,
      key: message.keys || null, outcome: ok ? 'ack' : 'fail',
    };
    emit({ event: 'message', consumer: command.consumer, message: fields });
    ack.done(ok);
  }));
}

async function stop({ consumer }) {
  const stopping = consumers.get(consumer);
  if (!stopping) throw new Error(`no consumer ${consumer}`);
  consumers.delete(consumer);
  await stopping.shutdown();
}

async function drain(command) {
  const journal = new Journal(command.journal);
  let count = 0;
  let last = Date.now();
  const consumer = await openConsumer(command, (message, ack) => {
    journal.received('-', '-', bodyOf(message), 1);
    count++;
    last = Date.now();
    ack.done(true);
  });
  await silence(() => last, command.idle_ms);
  await consumer.shutdown();
  journal.close();
  return { count };
}

async function reset() {
  for (const consumer of [...consumers.keys()]) await stop({ consumer });
  if (producer) await producer.shutdown();
  producer = undefined;
}

serve({
  hello: () => ({ sdk: 'rocketmq-nodejs', version: require('rocketmq-nodejs/package.json').version }),
  connect: command => void (address = command.remoting),
  create_topic: unsupported('the SDK makes a topic by sending to it'),
  send,
  load: startLoad,
  stop_load: () => load.stop(),
  consume,
  stop,
  drain,
  reset,
  settle: unsupported('the package asks for the outcome before it gives the next message'),
  offsets: unsupported(NO_CALL),
  seek_time: unsupported(NO_CALL),
});
