// What happens on a page between a click and the first frame, in ms after the click. Runs before the page's own scripts.

globalThis.timeline = (() => {
  let began = 0;
  let marks = {};
  const mark = (name) => { marks[name] ??= performance.now() - began; };
  /** Messages of calls since the click: 'init', 'accept' … with `<` for those that came. */
  let messages = [];
  let connection = null; // of the call

  addEventListener('click', () => {
    began = performance.now();
    marks = {};
    messages = [];
  }, true);

  const verb = (text) => (typeof text === 'string' ? /"subtype":"call:(\w+)"/.exec(text)?.[1] : null);
  const send = WebSocket.prototype.send;
  WebSocket.prototype.send = function (text) {
    const it = verb(text);
    if (it) {
      messages.push(it);
      mark(`sent ${it}`);
    }
    return send.call(this, text);
  };
  const { set } = Object.getOwnPropertyDescriptor(WebSocket.prototype, 'onmessage');
  Object.defineProperty(WebSocket.prototype, 'onmessage', {
    set(run) {
      set.call(this, run && ((event) => {
        const it = verb(event.data);
        if (it) {
          messages.push(`<${it}`);
          mark(`got ${it}`);
        }
        return run.call(this, event);
      }));
    },
  });

  const Native = globalThis.RTCPeerConnection;
  globalThis.RTCPeerConnection = new Proxy(Native, {
    construct(target, args, of) {
      const made = Reflect.construct(target, args, of === globalThis.RTCPeerConnection ? target : of);
      const on = (name, run) => made.addEventListener(name, run);
      on('iceconnectionstatechange', () => mark(`ice ${made.iceConnectionState}`));
      on('connectionstatechange', () => mark(`path ${made.connectionState}`));
      on('track', ({ track }) => {
        connection = made;
        mark('answer applied');
        if (track.kind === 'video') track.addEventListener('unmute', () => mark('first packet'));
      });
      return made;
    },
  });

  /** What came until the first frame was shown. */
  async function count() {
    const of = marks;
    const report = await connection?.getStats() ?? [];
    for (const it of report.values()) {
      if (it.type !== 'inbound-rtp' || it.kind !== 'video') continue;
      Object.assign(of, { '(frames received)': it.framesReceived, '(frames decoded)': it.framesDecoded, '(key frames)': it.keyFramesDecoded,
        '(kB received)': it.bytesReceived / 1000, '(ms of decoding)': it.totalDecodeTime * 1000 });
    }
  }

  function watch(video) {
    const shown = (now, { receiveTime, processingDuration, presentationTime }) => {
      if (marks['sent init'] !== undefined && marks['picture'] === undefined) {
        // The last packet of the frame, and its decoding, as the browser tells of them.
        if (receiveTime) marks['frame received'] = receiveTime - began;
        if (receiveTime && processingDuration) marks['frame decoded'] = receiveTime + processingDuration * 1000 - began;
        marks['presented'] = presentationTime - began;
        mark('picture');
        count();
      }
      video.requestVideoFrameCallback(shown);
    };
    video.requestVideoFrameCallback(shown);
  }
  // A still that is shown.
  const image = (element) => new MutationObserver(() => { if (!element.hidden) mark('still'); }).observe(element, { attributes: true });
  addEventListener('DOMContentLoaded', () => {
    const video = document.querySelector('#video');
    if (video) watch(video);
    const still = document.querySelector('#still');
    if (still) image(still);
  });

  return { take: () => ({ marks, messages }) };
})();
