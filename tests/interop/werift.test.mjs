import { watch } from './cases.mjs';

watch('werift');
