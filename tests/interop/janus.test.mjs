import { watch } from './cases.mjs';

watch('Janus');
