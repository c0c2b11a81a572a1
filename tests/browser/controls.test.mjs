// The camera's controls on the page: shown to those who may use them, set, and refused with a reason.

import assert from 'node:assert/strict';
import { scenario, until } from './harness.mjs';
import { watch } from './page.mjs';

/** Moves a slider as a hand does, to the end of the way at once. */
const slide = (page, name, value) => page.evaluate(`(() => {
  const input = document.querySelector('#tuning-form [name=${name}]');
  input.value = ${value};
  input.dispatchEvent(new Event('input', { bubbles: true }));
})()`);

const state = (page, name) => page.evaluate(`(() => {
  const { value, disabled } = document.querySelector('#tuning-form [name=${name}]');
  return { value, disabled };
})()`);

scenario("a camera's controls are set from the page", { needs: ['chromium'] }, async (s) => {
  const camera = await s.camera({ program: 'steered' });
  const page = await watch(await s.chromium(), camera.url);
  await until('the button is there', () => page.visible('#adjust'));
  assert.equal(await page.visible('#tuning'), false, 'nobody asked for it yet');
  await page.click('#adjust');
  await until('the form is there', () => page.visible('#tuning'));
  assert.deepEqual(await state(page, 'brightness'), { value: '128', disabled: false });
  assert.equal((await state(page, 'exposure_time')).disabled, true, 'its automatic governs it');

  await slide(page, 'brightness', 40);
  await camera.process.says(/set {"name":"brightness","value":40}/);
  await page.evaluate(`(() => {
    const select = document.querySelector('#tuning-form [name=exposure_auto]');
    select.value = '1';
    select.dispatchEvent(new Event('change', { bubbles: true }));
  })()`);
  await until('the automatic is off', async () => !(await state(page, 'exposure_time')).disabled);
  if (process.env.SHOT) await page.inner.screenshot({ path: process.env.SHOT });

  await slide(page, 'brightness', 255);
  await until('the refusal is shown', async () => /not that bright/.test(await page.text('#toast')));
  await until('the form shows what is set', async () => (await state(page, 'brightness')).value === '40');

  await page.click('#tuning-reset');
  await until('all is as it was', async () => (await state(page, 'brightness')).value === '128'
    && (await state(page, 'exposure_time')).disabled);
  await page.moves('#video', 10);
});

scenario('a camera without controls shows none', { needs: ['chromium'] }, async (s) => {
  const camera = await s.camera();
  const page = await watch(await s.chromium(), camera.url);
  await page.moves('#video', 10);
  assert.equal(await page.visible('#adjust'), false);
});
