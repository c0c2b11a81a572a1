import { watch } from './cases.mjs';

watch('Chromium');
