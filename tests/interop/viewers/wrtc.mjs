// libwebrtc, by @roamhq/wrtc. It has no H.264, so the camera encodes VP8 for it.

import wrtc from '@roamhq/wrtc';
import { standard } from './standard.mjs';
import { run } from './symple.mjs';

run((events, wishes) => standard(wrtc.RTCPeerConnection, events, wishes));
