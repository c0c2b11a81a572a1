// axe-core finds no faults in a page.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';

const AXE = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');

/** Asserts that there are no faults in this state, checked by more than `least` rules. */
export async function judge(s, page, state, least) {
  // Evaluated by the debugger, which is exempt from the page's Content-Security-Policy.
  await page.evaluate(`void (window.axe ?? (() => { ${AXE} })())`);
  const { violations, passes } = await page.evaluate(`axe.run(document).then(({ violations, passes }) => ({
    violations: violations.map(({ id, help, nodes }) => ({ id, help, nodes: nodes.map((node) => node.html.slice(0, 200) + ' ' + node.failureSummary) })),
    passes: passes.length,
  }))`);
  assert.ok(passes > least, `only ${passes} rules applied`);
  assert.deepEqual(violations, [], `${state}: ${JSON.stringify(violations, null, 2)}`);
  s.note(`${state}: ${passes} rules hold`);
}
