// Reads commands and writes answers for the drivers in Node, and keeps their journals. Knows nothing of any protocol.
// README.md beside this file says what the lines are.
'use strict';

const fs = require('fs');
const readline = require('readline');

const LIMIT_MS_DEFAULT = 30_000;
const PROGRESS_EVERY = 1_000;
const LOAD_FAILURES_MAX = 100;

// A command that this SDK cannot carry out, with the reason that goes into the table of results.
class Unsupported extends Error {}

// Only answers go to standard output; what an SDK logs there goes to standard error.
console.log = console.info = console.debug = console.error;

// Written at once, so that nothing is left behind when the process is ended.
function emit(line) {
  const text = Buffer.from(JSON.stringify(line) + '\n');
  for (let at = 0; at < text.length; ) {
    try {
      at += fs.writeSync(1, text, at);
    } catch (error) {
      if (error.code !== 'EAGAIN') throw error;
    }
  }
}

// Answers each command by the function of its name until standard input ends, then ends the process: SDKs keep timers and sockets.
async function serve(commands) {
  process.on('unhandledRejection', error => console.error('nobody waits for', error));
  for await (const text of readline.createInterface({ input: process.stdin })) {
    const command = JSON.parse(text);
    emit({ id: command.id, ...(await answer(commands, command)) });
  }
  process.kill(process.pid, 'SIGKILL');
}

async function answer(commands, command) {
  const limit = command.limit_ms ?? LIMIT_MS_DEFAULT;
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`not done within ${limit} ms`)), limit);
  });
  try {
    const run = commands[command.cmd];
    if (!run) throw new Unsupported('no command ' + command.cmd);
    return { ok: (await Promise.race([run(command), late])) ?? {} };
  } catch (error) {
    if (error instanceof Unsupported) return { unsupported: error.message };
    return { error: `${error?.name}: ${error?.message ?? error}` };
  } finally {
    clearTimeout(timer);
  }
}

function unsupported(reason) {
  return () => {
    throw new Unsupported(reason);
  };
}

function sleep(ms) {
  return new Promise(resolve => setTimeout(resolve, ms));
}

// Waits until nothing came for so long; `last` tells when something did.
async function silence(last, idleMs) {
  while (Date.now() - last() < idleMs) await sleep(20);
}

const CRC_TABLE = Array.from({ length: 256 }, (_, n) => {
  for (let bit = 0; bit < 8; bit++) n = n & 1 ? (n >>> 1) ^ 0xedb88320 : n >>> 1;
  return n >>> 0;
});

// As zlib's, which Node before 20.15 does not offer.
function crcOf(body) {
  let crc = 0xffffffff;
  for (const byte of body) crc = CRC_TABLE[(crc ^ byte) & 0xff] ^ (crc >>> 8);
  return ((crc ^ 0xffffffff) >>> 0).toString(16).padStart(8, '0');
}

// Lines for the offline checker.
class Journal {
  constructor(path) {
    this.file = fs.openSync(path, 'w');
    this.waiting = [];
  }

  line(text) {
    this.waiting.push(text);
    if (this.waiting.length >= PROGRESS_EVERY) this.flush();
  }

  received(queue, offset, body, attempt) {
    const id = body.toString('latin1').split(' ', 1)[0] || '?';
    this.line(`R ${queue} ${offset} ${id} ${crcOf(body)} ${attempt} ${Date.now()}`);
  }

  flush() {
    if (this.waiting.length) fs.writeSync(this.file, this.waiting.join('\n') + '\n');
    this.waiting = [];
  }

  close() {
    this.flush();
    fs.closeSync(this.file);
  }
}

// Sends as fast as a window of senders allows, each of which waits for its answer, until told to stop or the broker is gone.
// `send` takes a body and gives queue and offset as far as it knows them.
class Load {
  constructor(command, send) {
    Object.assign(this, { run: command.run, bytes: command.bytes, send, stopping: false, inRow: 0 });
    this.counts = { sent: 0, acked: 0, failed: 0 };
    this.journal = new Journal(command.journal);
    const senders = Array.from({ length: command.window }, () => this.sendOn());
    this.done = Promise.all(senders).then(() => {
      this.journal.close();
      emit({ event: 'load_end', load: this.counts });
      return this.counts;
    });
  }

  async sendOn() {
    while (!this.stopping && this.inRow < LOAD_FAILURES_MAX) {
      const id = `${this.run}-${this.counts.sent++}`;
      const body = Buffer.from((id + ' ').padEnd(this.bytes, '.'));
      this.journal.line(`S ${id} ${crcOf(body)} ${Date.now()}`);
      try {
        const { queue, offset } = await this.send(body);
        this.journal.line(`A ${id} disk ${Date.now()} ${queue ?? '-'} ${offset ?? '-'}`);
        this.inRow = 0;
        if (++this.counts.acked % PROGRESS_EVERY === 0) emit({ event: 'load_progress', acked: this.counts.acked });
      } catch (error) {
        this.journal.line(`F ${id} ${Date.now()} ${String(error).replace(/\n/g, ' ')}`);
        this.inRow++;
        this.counts.failed++;
      }
    }
  }

  stop() {
    this.stopping = true;
    return this.done;
  }
}

module.exports = { Journal, Load, Unsupported, crcOf, emit, serve, silence, sleep, unsupported };
