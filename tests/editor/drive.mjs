// Drives yaml-language-server over stdio, as an editor would.
//
//   node drive.mjs SERVER FOLDER < questions.json > answers.json
//
// Questions: [{ "file": "a.yaml", "text": "...", "complete": [{ "line": 0, "character": 0 }], "hover": [...] }].
// Answers, in the same order: { "diagnostics": [...], "complete": [[...]], "hover": [...] }, as the server gave them.

import { spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { pathToFileURL } from 'node:url';
import { join } from 'node:path';

const [server, folder] = process.argv.slice(2);
const questions = JSON.parse(readFileSync(0, 'utf8'));
const root = pathToFileURL(folder).href;

const child = spawn(process.execPath, [server, '--stdio'], { stdio: ['pipe', 'pipe', 'inherit'] });
child.on('exit', (code) => fail(`the server ended with ${code}`));

const pending = new Map();
const published = new Map();
const waiting = new Map();
let next = 1;

function fail(why) {
  console.error(why);
  process.exit(1);
}

function send(message) {
  const body = Buffer.from(JSON.stringify({ jsonrpc: '2.0', ...message }));
  child.stdin.write(`Content-Length: ${body.length}\r\n\r\n`);
  child.stdin.write(body);
}

function request(method, params) {
  const id = next++;
  send({ id, method, params });
  return new Promise((resolve, reject) => pending.set(id, { resolve, reject }));
}

const notify = (method, params) => send({ method, params });

// No stores and no network: the file's own modeline names its schema.
const settings = {
  yaml: { validate: true, completion: true, hover: true, schemaStore: { enable: false }, schemas: {} },
  '[yaml]': {},
  editor: {},
  files: {},
  http: {},
};

function answer(message) {
  const items = message.params?.items ?? [];
  const results = { 'workspace/configuration': items.map((item) => settings[item.section] ?? null) };
  send({ id: message.id, result: results[message.method] ?? null });
}

function received(message) {
  if (message.method && message.id !== undefined) {
    answer(message);
  } else if (message.method === 'textDocument/publishDiagnostics') {
    published.set(message.params.uri, message.params.diagnostics);
    waiting.get(message.params.uri)?.();
  } else if (pending.has(message.id)) {
    const { resolve, reject } = pending.get(message.id);
    pending.delete(message.id);
    message.error ? reject(new Error(message.error.message)) : resolve(message.result);
  }
}

let buffer = Buffer.alloc(0);
child.stdout.on('data', (chunk) => {
  buffer = Buffer.concat([buffer, chunk]);
  for (;;) {
    const header = buffer.indexOf('\r\n\r\n');
    if (header < 0) return;
    const length = Number(/Content-Length: (\d+)/i.exec(buffer.subarray(0, header).toString())[1]);
    const end = header + 4 + length;
    if (buffer.length < end) return;
    const message = JSON.parse(buffer.subarray(header + 4, end).toString());
    buffer = buffer.subarray(end);
    received(message);
  }
});

async function ask({ file, text, complete = [], hover = [] }) {
  const uri = pathToFileURL(join(folder, file)).href;
  const diagnosed = new Promise((resolve) => waiting.set(uri, resolve));
  notify('textDocument/didOpen', { textDocument: { uri, languageId: 'yaml', version: 1, text } });
  await diagnosed;
  const at = (position) => ({ textDocument: { uri }, position });
  const answers = { diagnostics: published.get(uri), complete: [], hover: [] };
  for (const position of complete) {
    const found = await request('textDocument/completion', at(position));
    answers.complete.push(found?.items ?? found ?? []);
  }
  for (const position of hover) {
    answers.hover.push(await request('textDocument/hover', at(position)));
  }
  return answers;
}

try {
  await request('initialize', {
    processId: process.pid,
    rootUri: root,
    workspaceFolders: [{ uri: root, name: 'workspace' }],
    capabilities: {
      workspace: { configuration: true, workspaceFolders: true },
      textDocument: {
        completion: { completionItem: { documentationFormat: ['markdown'], snippetSupport: true } },
        hover: { contentFormat: ['markdown'] },
      },
    },
  });
  notify('initialized', {});
  notify('workspace/didChangeConfiguration', { settings });
  const answers = [];
  for (const question of questions) {
    answers.push(await ask(question));
  }
  child.removeAllListeners('exit');
  console.log(JSON.stringify(answers));
  child.kill();
  process.exit(0);
} catch (error) {
  fail(error.message);
}
