import { sends } from './senders.mjs';

// Of its three fake cameras the second measures depth, which no encoder takes.
const more = ['--use-fake-device-for-media-stream=device-count=3', '--auto-select-desktop-capture-source=Entire screen'];

sends('Chromium', (s) => s.chromium({ devices: true, more }), ['H264', 'VP8'], { needs: ['chromium'], devices: [2, 0], screen: true });
