// What went wrong, in words, and what to do about it.

/** `reason` is that of a call's end, or one of the page's own; returns [title, advice]. */
export function advice(reason, { name = '', detail = '', remote = false, camera = true } = {}) {
  switch (reason) {
    case 'server': return ['The server is gone', 'This page connects again by itself. If it stays so, look whether the server runs and this device is on its network.'];
    case 'proxy': return ['The server answers, but opens no WebSocket', 'A proxy in between must pass the headers Upgrade, Connection and Host. If there is none, too many pages of your address may be open. The log of the server says which.'];
    case 'limited': return ['Too many tries', detail];
    case 'token': return ['A token is needed', detail ? `The server said: ${detail}` : 'Enter the one that was printed where the server was started.'];
    case 'hangup': return remote ? [`${name} ended the call`] : ['Stopped', 'Choose who to see from the list.'];
    case 'offline': return [`${name} is offline`, camera ? 'It plays here again as soon as it is back.' : ''];
    case 'busy': return [`${name} is busy`, camera ? 'It serves as many as it can. Trying again shortly.' : 'Try again later.'];
    case 'declined': return [`${name} declined`];
    case 'timeout': return [`${name} does not answer`, 'Try again in a moment.'];
    case 'ice':
    case 'unconnected': return ['No path to the picture', `${name} answered, but no media came through. A firewall or another network may be between: allow its UDP port, or set up a TURN server.`];
    case 'lost': return ['The picture was lost', camera ? 'Looking for it again.' : 'The network between you broke down.'];
    case 'stalled': return ['The picture stands still', `Nothing comes from ${name} at the moment. The network may be slow, or its source has stopped.`];
    case 'source-lost': return [`${name} has no picture at the moment`, `${detail} It is tried again.`.trim()];
    case 'source-ended': return [`${name} came to its end`, 'Its source ended. Trying again shortly.'];
    case 'source-failed': return [`${name} has no picture`, `${detail || 'Its source failed.'} Trying again shortly.`];
    case 'codec': return ['No common video format', `${name} sends nothing that this browser plays. It needs H.264 or VP8: try Chrome, Edge or Safari, or let the camera send VP8.`];
    case 'unplayable': return ['This browser cannot play it', 'It has neither H.264 nor VP8 over WebRTC. Try a current Chrome, Edge, Safari or Firefox.'];
    case 'media': return ['The call failed in this browser', detail || 'Try again, or another browser.'];
    // The others of the wire say it in their own words.
    default: return [`${name} ended the call`, reason];
  }
}
