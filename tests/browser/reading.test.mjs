// What people read and touch on the page: names, words, buttons, keys, contrast, and how much it takes to show it.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { ROOT, scenario, until } from './harness.mjs';
import { as, watch } from './page.mjs';

const WEB = join(ROOT, 'src/web');
const MANY = 5000; // peers
const LEAST = { text: 4.5, parts: 3 }; // contrast, of WCAG 2.2 at level AA: 1.4.3 and 1.4.11

test('all modules of the page are asked for at once', () => {
  const page = readFileSync(join(WEB, 'index.html'), 'utf8');
  const ahead = new Set([...page.matchAll(/rel="modulepreload" href="([^"]+)"/g)].map(([, name]) => name));
  const needed = new Set(['app.js']);
  for (const name of needed) {
    for (const [, next] of readFileSync(join(WEB, name), 'utf8').matchAll(/from '\.\/([^']+)'/g)) needed.add(next);
  }
  assert.deepEqual([...ahead].sort(), [...needed].sort());
});

scenario('the first load asks for each file once, and for nothing else', { needs: ['chromium'] }, async (s) => {
  const camera = await s.camera();
  const asked = [];
  const page = await watch(await s.chromium(), camera.url, { before: (page) => page.on('request', (request) => asked.push(new URL(request.url()).pathname)) });
  const modules = asked.filter((path) => path.endsWith('.js'));
  assert.equal(new Set(modules).size, modules.length, modules.join());
  // The configuration is asked for again once the server has let us in; how often the icon is, is the browser's business.
  const rest = new Set(asked.filter((path) => !path.endsWith('.js')));
  assert.deepEqual([...rest].sort(), ['/', '/api/config', '/api/snapshot.jpg', '/icon.svg', '/style.css'].filter((path) => rest.has(path)));
  assert.equal(asked.filter((path) => path === '/api/config').length, 2);
  s.note(`${asked.length} requests`);
  // Compressed: what arrives is less than what it becomes.
  const [sent, whole] = await page.evaluate(`performance.getEntriesByType('resource').filter(({ name }) => name.endsWith('.js'))
    .reduce(([sent, whole], { encodedBodySize, decodedBodySize }) => [sent + encodedBodySize, whole + decodedBodySize], [0, 0])`);
  assert.ok(sent * 2 < whole, `${sent} bytes of ${whole}`);
});

scenario('long and foreign names keep their place', { needs: ['chromium'] }, async (s) => {
  const camera = await s.camera();
  const browser = await s.chromium();
  const page = await watch(browser, camera.url);
  const long = 'An unbreakable name: ' + 'x'.repeat(200);
  await page.evaluate(`for (const [id, name] of [['1', ${JSON.stringify(long)}], ['2', 'שלום, דלת']])
    symple.roster.handle({ from: 'somebody|' + id, data: { user: 'somebody', id, online: true, name } })`);
  await until('they are listed', async () => (await page.probe('count', '#people button')) === 2);
  for (const width of [1280, 390]) {
    await page.inner.setViewportSize({ width, height: 844 });
    const shown = await page.evaluate(`(() => {
      const [first, second] = document.querySelectorAll('#people button');
      const { left, right } = first.getBoundingClientRect();
      const list = first.closest('aside').getBoundingClientRect();
      return {
        wide: document.documentElement.scrollWidth, room: innerWidth, inside: left >= list.left && right <= list.right,
        title: first.title, directions: [first, second].map((button) => getComputedStyle(button.querySelector('.who')).direction),
      };
    })()`);
    assert.ok(shown.wide <= shown.room && shown.inside, JSON.stringify(shown));
    assert.equal(shown.title, long, 'the whole name is its title');
    assert.deepEqual(shown.directions, ['ltr', 'rtl']);
  }
});

scenario('keys do what buttons do, in full screen too, and letters where something is written', { needs: ['chromium'] }, async (s) => {
  const camera = await s.camera();
  const page = await watch(await s.chromium(), camera.url, { before: as('visitor') });
  const press = (key) => page.inner.keyboard.press(key);
  // The page shows what is once a frame.
  const says = (id, words) => until(`${id} says ${words}`, async () => (await page.text(id)) === words);
  const muted = () => page.evaluate('document.querySelector("video").muted');
  assert.equal(await muted(), true);
  await press('m');
  await until('it sounds', async () => !(await muted()));
  await says('#mute', 'Mute');
  assert.equal(await page.probe('attribute', '#mute', 'aria-pressed'), null, 'its words say what it does');
  await press('m');
  await until('it is silent', muted);
  await says('#mute', 'Unmute');

  await press('f');
  await until('full screen', () => page.evaluate('document.fullscreenElement?.id === "stage"'));
  await says('#fullscreen', 'Leave full screen');
  await press('s');
  await until('the snapshot is told', async () => /^Saved /.test(await page.text('#toast')));
  // In the top layer, above the element in full screen, which came there earlier.
  assert.equal(await page.evaluate('document.getElementById("toast").matches(":popover-open")'), true);
  assert.ok(await page.visible('#toast'));
  await press('f');
  await until('no full screen', () => page.evaluate('!document.fullscreenElement'));
  await says('#fullscreen', 'Full screen');

  await page.inner.focus('#name');
  await page.inner.fill('#name', '');
  await page.inner.keyboard.type('mfs');
  assert.equal(await page.evaluate('document.getElementById("name").value'), 'mfs');
  assert.deepEqual([await muted(), await page.evaluate('Boolean(document.fullscreenElement)')], [true, false]);
});

scenario('rings around what has the focus are not cut off', { needs: ['chromium'] }, async (s) => {
  const camera = await s.camera();
  const page = await watch(await s.chromium(), camera.url);
  for (const [width, height] of [[1280, 900], [390, 844]]) {
    await page.inner.setViewportSize({ width, height });
    const cut = await page.evaluate(`[...document.querySelectorAll('button, input, summary')].filter((one) => one.checkVisibility() && !one.disabled).flatMap((one) => {
      one.focus({ focusVisible: true });
      const { outlineWidth, outlineOffset } = getComputedStyle(one);
      const ring = parseFloat(outlineWidth) + parseFloat(outlineOffset) - 0.5; // clientWidth is rounded
      const { left, right } = one.getBoundingClientRect();
      for (let around = one.parentElement; around; around = around.parentElement) {
        if (getComputedStyle(around).overflowX === 'visible') continue;
        const from = around.getBoundingClientRect().left + around.clientLeft;
        if (left - ring < from || right + ring > from + around.clientWidth) return [one.id || one.textContent];
      }
      return [];
    })`);
    assert.deepEqual(cut, [], `${width} px wide`);
  }
});

scenario('nothing covers words, and words and edges stand out from what is behind them', { needs: ['chromium'] }, async (s) => {
  const camera = await s.camera();
  const page = await watch(await s.chromium(), camera.url);
  await until('sound is offered', () => page.visible('#unmute'));
  await page.evaluate(`{
    const share = document.getElementById('share');
    share.hidden = false;
    share.textContent = 'Smaller picture: ' + 'the network carries 180 kbit/s, and the rest of it as well. '.repeat(2);
  }`);
  for (const width of [1280, 390]) {
    await page.inner.setViewportSize({ width, height: 844 });
    const covered = await page.evaluate(`(() => {
      const box = (id) => document.getElementById(id).getBoundingClientRect();
      const crosses = (a, b) => a.left < b.right && b.left < a.right && a.top < b.bottom && b.top < a.bottom;
      const all = ['unmute', 'share', 'live'];
      return all.flatMap((one, i) => all.slice(i + 1).filter((other) => crosses(box(one), box(other))).map((other) => one + ' and ' + other));
    })()`);
    assert.deepEqual(covered, [], `${width} px wide`);
  }
  const contrasts = await page.evaluate(`(() => {
    const numbers = (colour) => colour.match(/[\\d.]+/g).map(Number);
    const over = ([r, g, b, a = 1], under) => [r, g, b].map((value, i) => a * value + (1 - a) * under[i]);
    const light = (rgb) => rgb.map((value) => value / 255).map((c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4))
      .reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
    const contrast = (one, other) => {
      const [dark, bright] = [light(one), light(other)].sort((x, y) => x - y);
      return (bright + 0.05) / (dark + 0.05);
    };
    const style = (id) => getComputedStyle(document.getElementById(id));
    const behind = (id) => {
      for (let element = document.getElementById(id).parentElement; element; element = element.parentElement) {
        const colour = numbers(getComputedStyle(element).backgroundColor);
        if ((colour[3] ?? 1) === 1) return colour;
      }
      return [255, 255, 255];
    };
    const onWhite = (id) => {
      const ground = over(numbers(style(id).backgroundColor), [255, 255, 255]);
      return contrast(over(numbers(style(id).color), ground), ground);
    };
    const edge = (id) => contrast(over(numbers(style(id).borderTopColor), behind(id)), behind(id));
    return {
      text: { live: onWhite('live'), share: onWhite('share') },
      parts: Object.fromEntries(['mute', 'snapshot', 'hangup', 'name'].map((id) => [id, edge(id)])),
    };
  })()`);
  for (const [what, found] of Object.entries(contrasts)) {
    for (const [id, contrast] of Object.entries(found)) assert.ok(contrast >= LEAST[what], `#${id}: ${contrast.toFixed(1)}:1`);
  }
  for (const [id, pattern] of [['loss', /^[\d.]+ %$/], ['viewers', /^1$/], ['rtt', /^[\d.]+ ms$/], ['total', /^[\d.]+ ms$/]]) {
    await until(`${id} is measured`, async () => {
      const said = await page.text(`#stat-${id}`);
      return pattern.test(said) || Promise.reject(new Error(said));
    });
  }
});

scenario('thousands of peers are listed in one go', { needs: ['chromium'] }, async (s) => {
  const camera = await s.camera();
  const page = await watch(await s.chromium(), camera.url);
  const ms = await page.evaluate(`(() => {
    window.changes = 0;
    new MutationObserver((list) => { changes += list.length; })
      .observe(document.getElementById('people'), { childList: true, subtree: true, characterData: true });
    const began = performance.now();
    for (let i = 0; i < ${MANY}; i += 1) {
      const id = String(i);
      symple.roster.handle({ from: 'user' + id + '|' + id, data: { user: 'user' + id, id, online: true, name: 'Person ' + id, peerType: 'person' } });
    }
    return Math.round(performance.now() - began);
  })()`);
  await until('the first of them are listed', async () => (await page.probe('count', '#people li')) === 100);
  const changes = await page.evaluate('changes');
  s.note(`${MANY} peers: ${ms} ms, ${changes} changes of the list`);
  assert.ok(changes < 1000, `${changes} changes of the list`);
  assert.match(await page.text('#no-people'), new RegExp(`${MANY - 100} more are online`));
  await page.inner.fill('#filter', 'person 4321');
  await until('one is found', async () => (await page.probe('count', '#people li')) === 1);
});

scenario('where the browser gives no camera and microphone, nobody can be called, and the button says why', { needs: ['chromium'] }, async (s) => {
  const camera = await s.camera();
  // As on a page from http and another machine.
  const insecure = (page) => page.addInitScript("Object.defineProperty(navigator, 'mediaDevices', { value: undefined })");
  const page = await watch(await s.chromium(), camera.url, { before: insecure });
  await page.evaluate("symple.roster.handle({ from: 'bob|1', data: { user: 'bob', id: '1', online: true, name: 'Bob' } })");
  await until('Bob is listed', async () => (await page.probe('count', '#people button')) === 1);
  assert.equal(await page.evaluate('document.querySelector("#people button").disabled'), true);
  assert.match(await page.probe('attribute', '#people button', 'title'), /https or localhost/);
});

scenario('a picture that stands is not called live', { needs: ['chromium'] }, async (s) => {
  const camera = await s.camera();
  const page = await watch(await s.chromium(), camera.url);
  await page.moves('#video', 10);
  await page.evaluate(`{
    const [video, stage] = [document.getElementById('video'), document.getElementById('stage')];
    const shown = (now) => { window.last = now; video.requestVideoFrameCallback(shown); };
    shown(performance.now());
    new MutationObserver(() => {
      if (stage.dataset.state === 'stalled') window.dimmed ??= performance.now() - window.last;
    }).observe(stage, { attributes: true });
  }`);
  camera.process.signal('SIGSTOP');
  s.after(() => camera.process.signal('SIGCONT'));
  const after = await until('the page says that it stands', () => page.evaluate('window.dimmed'));
  s.note(`${Math.round(after)} ms after the last frame`);
  assert.ok(after < 2500, `${after} ms`); // 1 s, on a busy machine
  assert.equal(await page.evaluate('getComputedStyle(document.querySelector("#live span")).opacity'), '0.4');
  assert.notEqual(await page.text('#state'), '', 'and why');
});
