import { sends } from './senders.mjs';

// It has no H.264 here: it would load an encoder from elsewhere.
sends('Firefox', (s) => s.firefox(), ['VP8'], { needs: ['firefox'], estimates: false, silent: 'its AudioContext needs a device for audio' });
