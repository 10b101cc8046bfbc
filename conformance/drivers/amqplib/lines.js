// Reads commands and writes answers, each a line of JSON. Knows nothing of any protocol.
'use strict';

const readline = require('node:readline');

const LIMIT_MS_DEFAULT = 30_000;

/** A command that this SDK cannot carry out, with the reason that goes into the table of results. */
class Unsupported extends Error {}

function emit(line) {
  process.stdout.write(`${JSON.stringify(line)}\n`);
}

/** Answers each command by the function of its name until standard input ends, then resets. */
async function serve(commands) {
  for await (const text of readline.createInterface({ input: process.stdin })) {
    const command = JSON.parse(text);
    emit({ id: command.id, ...(await answer(commands, command)) });
  }
  await answer(commands, { cmd: 'reset' });
  process.exit(0);
}

async function answer(commands, command) {
  const limitMs = command.limit_ms ?? LIMIT_MS_DEFAULT;
  let timer;
  const late = new Promise((resolve) => {
    timer = setTimeout(() => resolve({ error: `not done within ${limitMs} ms` }), limitMs);
  });
  const result = await Promise.race([run(commands, command), late]);
  clearTimeout(timer);
  return result;
}

async function run(commands, command) {
  try {
    const carryOut = commands[command.cmd];
    if (!carryOut) throw new Unsupported(`no command ${command.cmd}`);
    return { ok: (await carryOut(command)) ?? {} };
  } catch (error) {
    return error instanceof Unsupported ? { unsupported: error.message } : { error: String(error) };
  }
}

module.exports = { Unsupported, emit, serve };
