// Records what a viewer sees, with times: each frame, each text of the page, and each state of a connection. Runs in
// the page, before the page's own scripts.

globalThis.witness = (() => {
  const now = () => Date.now();
  const frames = []; // when each was shown, ms since 1970
  const said = []; // { at, state, text, line }
  const paths = []; // { at, what }: peer connections and their states

  const Native = globalThis.RTCPeerConnection;
  let made = 0;
  let newest;
  globalThis.RTCPeerConnection = new Proxy(Native, {
    construct(target, args, of) {
      const connection = Reflect.construct(target, args, of === globalThis.RTCPeerConnection ? target : of);
      newest = connection;
      const name = `#${++made}`;
      const note = (what) => paths.push({ at: now(), what: `${name} ${what}` });
      note('made');
      connection.addEventListener('iceconnectionstatechange', () => note(`ICE ${connection.iceConnectionState}`));
      connection.addEventListener('signalingstatechange', () => note(connection.signalingState));
      return connection;
    },
  });
  for (const name of ['online', 'offline']) addEventListener(name, () => paths.push({ at: now(), what: `browser ${name}` }));
  navigator.connection?.addEventListener('change', () => paths.push({ at: now(), what: 'network change' }));

  const calls = []; // when each was begun
  const { send } = WebSocket.prototype;
  WebSocket.prototype.send = function (text) {
    if (String(text).includes('"call:init"')) calls.push(now());
    return send.call(this, text);
  };

  const watched = new WeakSet();
  function look() {
    for (const video of document.querySelectorAll('#video')) {
      if (watched.has(video)) continue;
      watched.add(video);
      const shown = () => { frames.push(now()); video.requestVideoFrameCallback(shown); };
      video.requestVideoFrameCallback(shown);
    }
    const text = (id) => document.getElementById(id)?.textContent ?? '';
    const state = document.getElementById('stage')?.dataset.state ?? '';
    const line = document.getElementById('connection')?.dataset.state ?? '';
    const next = { state, line, text: text('state') };
    const last = said.at(-1);
    if (last?.state !== next.state || last.line !== next.line || last.text !== next.text) said.push({ at: now(), ...next });
    // Once for each painted frame, not on each change: nobody sees the incomplete states in between.
    requestAnimationFrame(look);
  }
  requestAnimationFrame(look);

  return {
    /** The key frames that the newest connection requested and decoded. */
    async keys() {
      const video = [...(await newest.getStats()).values()].find(({ type, kind }) => type === 'inbound-rtp' && kind === 'video');
      return { asked: video.pliCount + video.firCount, decoded: video.keyFramesDecoded };
    },
    /** When each call began. */
    calls: () => calls,
    /** What happened since then: { frames, said, paths, made, last }. */
    since: (at) => ({
      made,
      last: frames.at(-1) ?? null,
      frames: frames.filter((when) => when >= at),
      said: said.filter((one) => one.at >= at),
      paths: paths.filter((one) => one.at >= at),
    }),
  };
})();
