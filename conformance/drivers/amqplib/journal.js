// Writes the lines that the offline checker reads.
'use strict';

const fs = require('node:fs');
const zlib = require('node:zlib');

const FLUSH_BYTES = 1 << 16;

const TABLE = Uint32Array.from({ length: 256 }, (_, byte) => {
  let value = byte;
  for (let bit = 0; bit < 8; bit += 1) value = value & 1 ? 0xedb88320 ^ (value >>> 1) : value >>> 1;
  return value;
});

function crc32(body) {
  if (zlib.crc32) return zlib.crc32(body); // not in every Node that the SDK runs on
  let value = 0xffffffff;
  for (const byte of body) value = TABLE[(value ^ byte) & 0xff] ^ (value >>> 8);
  return (value ^ 0xffffffff) >>> 0;
}

const hex = (body) => crc32(body).toString(16).padStart(8, '0');

class Journal {
  constructor(path) {
    this.file = fs.openSync(path, 'w');
    this.text = '';
  }

  line(text) {
    this.text += `${text}\n`;
    if (this.text.length > FLUSH_BYTES) this.flush();
  }

  sent(id, body) {
    this.line(`S ${id} ${hex(body)} ${Date.now()}`);
  }

  acked(id) {
    this.line(`A ${id} disk ${Date.now()} - -`);
  }

  failed(id, reason) {
    this.line(`F ${id} ${Date.now()} ${String(reason).replaceAll('\n', ' ')}`);
  }

  received(body, attempt) {
    const id = body.toString('latin1').split(' ', 1)[0] || '?';
    this.line(`R - - ${id} ${hex(body)} ${attempt} ${Date.now()}`);
  }

  flush() {
    fs.writeSync(this.file, this.text);
    this.text = '';
  }

  close() {
    this.flush();
    fs.closeSync(this.file);
  }
}

module.exports = { Journal };
