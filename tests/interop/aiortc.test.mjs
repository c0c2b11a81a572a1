import { watch } from './cases.mjs';

watch('aiortc');
