import { watch } from './cases.mjs';

watch('libwebrtc');
