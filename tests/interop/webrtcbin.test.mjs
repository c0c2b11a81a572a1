import { watch } from './cases.mjs';

watch('webrtcbin');
