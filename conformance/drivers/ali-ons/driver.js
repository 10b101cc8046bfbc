// Drives the npm package ali-ons, RocketMQ's remoting protocol in JavaScript, by JSON lines; ../README.md says which.
'use strict';

const { Consumer, Message, Producer } = require('ali-ons');
const { Journal, Load, Unsupported, emit, serve, silence, unsupported } = require('./lines');

const ROUTE_POLL_MS = 1_000;
const OFFSET_PERSIST_MS = 500;
const SEND_TIMEOUT_MS = 10_000;
const FROM = { earliest: 'CONSUME_FROM_FIRST_OFFSET', latest: 'CONSUME_FROM_LAST_OFFSET', time: 'CONSUME_FROM_TIMESTAMP' };
// Written by SDKs or the broker; what is left are the user's own.
const SYSTEM_PROPERTIES = new Set(
  `KEYS TAGS WAIT DELAY RETRY_TOPIC REAL_TOPIC REAL_QID TRAN_MSG PGROUP MIN_OFFSET MAX_OFFSET ORIGIN_MESSAGE_ID RECONSUME_TIME
   MAX_RECONSUME_TIMES MSG_REGION TRACE_ON UNIQ_KEY CLUSTER CONSUME_START_TIME DLQ_ORIGIN_TOPIC DLQ_ORIGIN_MESSAGE_ID
   INSTANCE_ID __SHARDINGKEY`.split(/\s+/),
);

let address;
let producer;
let load;
let instances = 0;
const consumers = new Map();

// Each object has a connection of its own, and a route to a topic that another client made is seen soon.
function options(more) {
  return {
    nameSrv: address,
    httpclient: {}, // asked for name servers when none is given; never here
    onsChannel: 'CLOUD',
    instanceName: `${process.pid}-${++instances}`,
    pollNameServerInteval: ROUTE_POLL_MS,
    persistConsumerOffsetInterval: OFFSET_PERSIST_MS,
    ...more,
  };
}

async function currentProducer() {
  if (!producer) {
    // A retry by the SDK would make duplicates that no broker can be blamed for.
    const more = { producerGroup: `conformance_producer_${process.pid}`, retryTimesWhenSendFailed: 0, sendMsgTimeout: SEND_TIMEOUT_MS };
    producer = new Producer(options(more));
    producer.on('error', error => console.error(error));
  }
  await producer.ready();
  return producer;
}

function build(topic, wanted) {
  if (wanted.queue !== undefined) throw new Unsupported('the SDK has no queue selector');
  if (wanted.ordering_key !== undefined) {
    throw new Unsupported('the SDK ignores a sharding key whose hash picks queue 0 and scatters its messages, so it keeps no order');
  }
  // Without a tag the SDK would send the tag "null".
  const message = new Message(topic, wanted.tag ?? '', Buffer.from(wanted.body, 'base64'));
  Object.assign(message.properties, wanted.properties);
  if (wanted.key !== undefined) message.keys = [wanted.key];
  return message;
}

async function sendOne(message) {
  const result = await (await currentProducer()).send(message);
  if (result.sendStatus !== 'SEND_OK') throw new Error('send status ' + result.sendStatus);
  return { message_id: result.msgId, queue: Number(result.messageQueue.queueId), offset: result.queueOffset };
}

async function send({ topic, mode, messages }) {
  const built = messages.map(wanted => build(topic, wanted));
  if (mode === 'async') return { receipts: await Promise.all(built.map(sendOne)) };
  if (mode !== 'sync') throw new Unsupported(`the SDK has no ${mode} send`);
  const receipts = [];
  for (const message of built) receipts.push(await sendOne(message));
  return { receipts };
}

function startLoad(command) {
  load = new Load(command, body => sendOne(new Message(command.topic, '', body)));
}

// The SDK takes what follows the last separator for one more property, without a name.
function describe(message) {
  const properties = Object.entries(message.properties).filter(([name]) => name && !SYSTEM_PROPERTIES.has(name));
  return {
    message_id: message.msgId,
    topic: message.topic,
    queue: message.queueId,
    offset: message.queueOffset,
    body: (message.body ?? Buffer.alloc(0)).toString('base64'),
    properties: Object.fromEntries(properties),
    tag: message.tags ?? null,
    key: message.keys ?? null,
    attempt: message.reconsumeTimes + 1,
    redelivered: message.reconsumeTimes > 0,
    store_time_ms: message.storeTimestamp,
  };
}

function startingPoint(from = 'earliest') {
  const [where, ms] = from.split(':');
  const start = { consumeFromWhere: FROM[where] };
  if (ms) {
    const local = new Date(Number(ms) - new Date().getTimezoneOffset() * 60_000);
    start.consumeTimestamp = local.toISOString().replace(/[^0-9]/g, '').slice(0, 14);
  }
  return start;
}

async function openConsumer(command, handler) {
  const more = { consumerGroup: command.group, ...startingPoint(command.from) };
  if (command.max_attempts) more.maxReconsumeTimes = command.max_attempts - 1;
  const consumer = new Consumer(options(more));
  consumer.on('error', error => console.error(error));
  await consumer.ready();
  consumer.subscribe(command.topic, command.tag ?? '*', handler);
  return consumer;
}

async function consume(command) {
  if (command.hold) throw new Unsupported('a push consumer settles by what its handler returns');
  const failTimes = command.fail_times ?? 0;
  // It takes the messages of a queue one after the other, which is order as long as none fails.
  if (command.mode === 'orderly' && failTimes !== 0) {
    throw new Unsupported('the SDK has no orderly mode: a failed message goes to the retry topic and the next one comes');
  }
  if (consumers.has(command.consumer)) throw new Error(`consumer ${command.consumer} exists`);
  const handler = async message => {
    const ok = failTimes >= 0 && message.reconsumeTimes >= failTimes;
    emit({ event: 'message', consumer: command.consumer, message: { ...describe(message), outcome: ok ? 'ack' : 'fail' } });
    // Of a message that came back the SDK loses what the handler returns, but not what it throws.
    if (!ok) throw new Error('failed as the command said');
  };
  consumers.set(command.consumer, await openConsumer(command, handler));
}

async function stop({ consumer }) {
  const stopping = consumers.get(consumer);
  if (!stopping) throw new Error(`no consumer ${consumer}`);
  consumers.delete(consumer);
  await stopping.close();
}

async function drain(command) {
  const journal = new Journal(command.journal);
  let count = 0;
  let last = Date.now();
  const consumer = await openConsumer(command, async message => {
    journal.received(message.queueId, message.queueOffset, message.body ?? Buffer.alloc(0), message.reconsumeTimes + 1);
    count++;
    last = Date.now();
  });
  await silence(() => last, command.idle_ms);
  await consumer.close();
  journal.close();
  return { count };
}

async function reset() {
  for (const consumer of [...consumers.keys()]) await stop({ consumer });
  if (producer) await producer.close();
  producer = undefined;
}

serve({
  hello: () => ({ sdk: 'ali-ons', version: require('ali-ons/package.json').version }),
  connect: command => void (address = command.remoting),
  create_topic: unsupported('the SDK cannot make a topic'),
  send,
  load: startLoad,
  stop_load: () => load.stop(),
  consume,
  stop,
  drain,
  reset,
  settle: unsupported('a push consumer settles by what its handler returns'),
  offsets: unsupported('the SDK has no such call'),
  seek_time: unsupported('the SDK has no such call'),
});
