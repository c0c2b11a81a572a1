import { watch } from './cases.mjs';

watch('Firefox');
