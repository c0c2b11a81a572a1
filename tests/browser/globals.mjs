// What a page's modules find in every browser, but not in Node.js 18: import this before them.

import { webcrypto } from 'node:crypto';

globalThis.crypto ??= webcrypto;
