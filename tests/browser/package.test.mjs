// The npm package of the viewer: its contents, and whether its types match its modules.

import { test } from 'node:test';
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const HERE = fileURLToPath(new URL('.', import.meta.url));
const ROOT = join(HERE, '../..');
const WEB = join(ROOT, 'src/web');
const read = (...path) => readFileSync(join(ROOT, ...path), 'utf8');
const PACKAGE = JSON.parse(read('src/web/package.json'));
const MODULES = PACKAGE.files.filter((name) => name.endsWith('.js'));
/** The page's own script, which is not for other pages. */
const PAGE = ['app.js', 'figures.js', 'minute.js', 'own.js', 'talk.js', 'talkback.js', 'view.js'];

test('version and license match the crate', () => {
  const manifest = read('Cargo.toml');
  assert.equal(PACKAGE.version, manifest.match(/^version = "(.+)"$/m)[1]);
  assert.equal(PACKAGE.license, manifest.match(/^license = "(.+)"$/m)[1]);
  assert.equal(read('src/web/LICENSE'), read('LICENSE'));
  assert.equal(PACKAGE.dependencies, undefined);
  assert.equal(PACKAGE.scripts, undefined, 'there is no build step');
});

test('every module is in the package, and can be imported by its name', () => {
  const all = readdirSync(WEB).filter((name) => name.endsWith('.js'));
  assert.deepEqual([...MODULES, ...PAGE].sort(), all.sort());
  const exported = Object.keys(PACKAGE.exports).filter((name) => name.endsWith('.js')).map((name) => name.slice(2));
  assert.deepEqual(exported.sort(), [...MODULES].sort());
  for (const [name, to] of Object.entries(PACKAGE.exports)) {
    if (typeof to === 'string') continue;
    assert.equal(to.types, to.default.replace(/^\.\/(.*)\.js$/, './types/$1.d.ts'), name);
    assert.ok(name === '.' || name === to.default, name);
  }
});

test('npm packs exactly the intended files', (t) => {
  const packed = spawnSync('npm', ['pack', '--dry-run', '--json', '--ignore-scripts'], { cwd: WEB, encoding: 'utf8', env: { ...process.env, npm_config_update_notifier: 'false' } });
  if (packed.error) return t.skip(`SKIPPED: no npm here: ${packed.error.message}`);
  assert.equal(packed.status, 0, packed.stderr);
  const said = JSON.parse(packed.stdout);
  const [{ name, files }] = Array.isArray(said) ? said : Object.values(said);
  assert.equal(name, 'symple-viewer');
  const types = MODULES.map((module) => `types/${module.replace(/js$/, 'd.ts')}`);
  assert.deepEqual(files.map(({ path }) => path).sort(), ['LICENSE', 'README.md', 'package.json', ...MODULES, ...types].sort());
});

// ── Types: `node tests/browser/package.test.mjs --write` rewrites them ──

const TSC = join(HERE, 'node_modules/typescript/bin/tsc');
const tsc = (...args) => {
  const run = spawnSync(process.execPath, [TSC, ...args], { encoding: 'utf8', cwd: HERE });
  return { status: run.status, words: run.stdout + run.stderr };
};

/** Declarations from the modules' comments: { 'call.d.ts': '…' }. */
function declarations() {
  const dir = mkdtempSync(join(tmpdir(), 'symple-types-'));
  try {
    const { status, words } = tsc('-p', 'tsconfig.json', '--noEmit', 'false', '--declaration', '--emitDeclarationOnly', '--outDir', dir);
    assert.equal(status, 0, words);
    return Object.fromEntries(readdirSync(dir).map((name) => [name, readFileSync(join(dir, name), 'utf8')]));
  } finally {
    rmSync(dir, { recursive: true });
  }
}

if (process.argv.includes('--write')) {
  for (const [name, text] of Object.entries(declarations())) writeFileSync(join(WEB, 'types', name), text);
}

test('the modules pass a strict type check', () => {
  const { status, words } = tsc('-p', 'tsconfig.json');
  assert.equal(status, 0, words);
});

test('the declarations match the modules', () => {
  const now = declarations();
  const shipped = Object.fromEntries(readdirSync(join(WEB, 'types')).map((name) => [name, read('src/web/types', name)]));
  assert.deepEqual(Object.keys(shipped).sort(), MODULES.map((name) => name.replace(/js$/, 'd.ts')).sort());
  for (const [name, text] of Object.entries(now)) {
    assert.equal(shipped[name], text, `types/${name} is not that of its module: node tests/browser/package.test.mjs --write`);
  }
});

test('exports and declarations are the same', async () => {
  for (const module of MODULES) {
    const values = Object.keys(await import(join(WEB, module)));
    const declared = [...read('src/web/types', module.replace(/js$/, 'd.ts')).matchAll(/^export (?:declare )?(?:class|const|function|let|namespace) (\w+)/gm)].map(([, name]) => name);
    assert.deepEqual([...new Set(declared)].sort(), values.sort(), module);
  }
});

test('a program in TypeScript that uses the package compiles, and one that misuses it does not', () => {
  const dir = mkdtempSync(join(tmpdir(), 'symple-types-'));
  try {
    const compile = (text) => {
      writeFileSync(join(dir, 'a.mts'), text);
      writeFileSync(join(dir, 'tsconfig.json'), JSON.stringify({
        compilerOptions: {
          strict: true, noEmit: true, target: 'es2022', module: 'nodenext', lib: ['es2023', 'dom'], types: [],
          // As if it were installed.
          paths: { 'symple-viewer': [join(WEB, 'types/element.d.ts')], 'symple-viewer/*.js': [join(WEB, 'types/*.d.ts')] },
        },
        files: ['a.mts'],
      }));
      return tsc('-p', dir);
    };
    const right = read('src/web/README.md').match(/```js\n([^]*?)```/)[1].replace("document.querySelector('video')", "document.querySelector('video')!");
    const used = compile(`${right}\nimport { SympleCamera } from 'symple-viewer';\nconst camera = document.querySelector<SympleCamera>('symple-camera')!;\ncamera.muted = true;\n`);
    assert.equal(used.status, 0, used.words);
    for (const [wrong, words] of [
      ["import { Calls } from 'symple-viewer/call.js'; import { Client } from 'symple-viewer/client.js'; new Calls(new Client({ url: 'ws:', user: 'a' }));", /address/],
      ["import { Client } from 'symple-viewer/client.js'; new Client({ user: 'a' });", /url/],
      ["import { Client } from 'symple-viewer/client.js'; new Client({ url: 'ws:', user: 'a' }).on('stat', () => {});", /"stat"/],
    ]) {
      const { status, words: said } = compile(wrong);
      assert.notEqual(status, 0, wrong);
      assert.match(said, words);
    }
  } finally {
    rmSync(dir, { recursive: true });
  }
});
