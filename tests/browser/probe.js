// Looks at a page from the inside: what it shows, what it hears, what its connections are made of.
// Runs before the page's own scripts, in any browser, and changes nothing that they could notice.

globalThis.probe = (() => {
  // ── Connections: every one the page makes, with the configuration it was given ──

  const connections = [];
  const Native = globalThis.RTCPeerConnection;
  if (Native) {
    globalThis.RTCPeerConnection = new Proxy(Native, {
      construct(target, args, of) {
        const connection = Reflect.construct(target, args, of === globalThis.RTCPeerConnection ? target : of);
        connections.push({ connection, configuration: args[0] ?? {} });
        return connection;
      },
    });
  }

  const iceServers = () => connections.map(({ configuration }) => configuration.iceServers ?? []);
  const open = () => connections.filter(({ connection }) => connection.connectionState !== 'closed').length;

  /** What the newest open connection receives: { video: {…}, audio: {…} }. */
  async function received() {
    const last = connections.filter(({ connection }) => connection.connectionState !== 'closed').pop();
    if (!last) return {};
    const report = await last.connection.getStats();
    const out = {};
    for (const entry of report.values()) {
      if (entry.type !== 'inbound-rtp') continue;
      out[entry.kind] = {
        codec: report.get(entry.codecId)?.mimeType,
        width: entry.frameWidth, height: entry.frameHeight, decoded: entry.framesDecoded,
        bytes: entry.bytesReceived, lost: entry.packetsLost,
        energy: entry.totalAudioEnergy, samples: entry.totalSamplesReceived, concealed: entry.concealedSamples,
      };
    }
    return out;
  }

  // ── Pictures ──

  let pressed = 0; // when the last press was, or the page's start
  const firsts = new Map(); // video → when its first picture after that was shown
  addEventListener('click', () => { pressed = performance.now(); firsts.clear(); }, true);

  const watched = new WeakSet();
  function watch(video) {
    if (watched.has(video)) return;
    watched.add(video);
    const shown = (now) => {
      if (!firsts.has(video)) firsts.set(video, now);
      video.requestVideoFrameCallback(shown);
    };
    video.requestVideoFrameCallback(shown);
  }
  new MutationObserver(() => document.querySelectorAll('video').forEach(watch))
    .observe(document, { childList: true, subtree: true });

  const find = (selector) => document.querySelector(selector);
  const firstPicture = (selector) => {
    const first = firsts.get(find(selector));
    return first === undefined ? null : Math.max(1, Math.round(first - pressed));
  };

  // The layout of src/media/gst/pattern.rs: a row of `BITS` squares for each number, the greatest bit
  // first, light is 1; sizes are in pixels of a picture that is `WIDTH` wide.
  const LAYOUT = { bits: 32, width: 1280, block: 16, left: 32, counter: 32, clock: 64 };

  const canvas = document.createElement('canvas');
  let context;
  function read(video) {
    const { videoWidth: width, videoHeight: height } = video;
    if (!width) return null;
    const scale = width / LAYOUT.width;
    const rows = Math.min(height, Math.ceil((LAYOUT.clock + 2 * LAYOUT.block) * scale));
    if (canvas.width !== width || canvas.height !== rows) {
      Object.assign(canvas, { width, height: rows });
      context = null;
    }
    context ??= canvas.getContext('2d', { willReadFrequently: true });
    context.drawImage(video, 0, 0, width, rows, 0, 0, width, rows);
    const { data } = context.getImageData(0, 0, width, rows);
    const light = (x, y) => {
      const at = 4 * (Math.floor(y * scale) * width + Math.floor(x * scale));
      return (data[at] + data[at + 1] + data[at + 2]) / 3;
    };
    const number = (top) => {
      let value = 0;
      for (let bit = 0; bit < LAYOUT.bits; bit++) {
        const level = light(LAYOUT.left + (bit + 0.5) * LAYOUT.block, top + LAYOUT.block / 2);
        if (level > 96 && level < 160) return null; // neither: no pattern, or none that can be trusted
        value = value * 2 + (level >= 160 ? 1 : 0);
      }
      return value;
    };
    const counter = number(LAYOUT.counter), clock = number(LAYOUT.clock);
    if (counter === null || clock === null) return null;
    // The clock holds the low bits of the milliseconds since 1970.
    const delay = ((Date.now() - clock) % 2 ** 32 + 2 ** 32) % 2 ** 32;
    return { counter, clock, delay: delay > 2 ** 31 ? delay - 2 ** 32 : delay, width, height };
  }

  /** The next `count` pictures as they are shown, or { error }. */
  function pictures(selector, count, patience) {
    return new Promise((done) => {
      const out = [];
      const video = find(selector);
      let unread = 0;
      if (!video) return done({ error: 'no such element' });
      const { currentTime } = video;
      const late = setTimeout(() => done({
        error: `${out.length} of ${count} within ${patience} ms, and ${unread} whose pattern could not be read; ` +
          `paused ${video.paused}, ready ${video.readyState}, played ${(video.currentTime - currentTime).toFixed(1)} s, ` +
          `${video.videoWidth}x${video.videoHeight}`,
      }), patience);
      const shown = () => {
        const picture = read(video);
        if (picture) out.push(picture);
        else unread++;
        if (out.length < count) return video.requestVideoFrameCallback(shown);
        clearTimeout(late);
        done(out);
      };
      video.requestVideoFrameCallback(shown);
    });
  }

  /** How many different pictures `video` shows within its next `count`: for sources without our pattern. */
  function different(selector, count) {
    return new Promise((done) => {
      const video = find(selector);
      const small = Object.assign(document.createElement('canvas'), { width: 64, height: 36 });
      const brush = small.getContext('2d', { willReadFrequently: true });
      const seen = new Set();
      let colours = 0, left = count;
      const shown = () => {
        brush.drawImage(video, 0, 0, 64, 36);
        const { data } = brush.getImageData(0, 0, 64, 36);
        seen.add(data.join());
        colours = Math.max(colours, new Set(new Uint32Array(data.buffer)).size);
        if (--left > 0) video.requestVideoFrameCallback(shown);
        else done({ pictures: seen.size, colours, width: video.videoWidth, height: video.videoHeight });
      };
      video.requestVideoFrameCallback(shown);
    });
  }

  // ── Sound ──

  let audio;
  const ears = new WeakMap(); // stream → analyser

  /** The level (root mean square) and the strongest tone of what is received, muted or not. */
  async function sound(selector) {
    const stream = find(selector)?.srcObject;
    if (!stream?.getAudioTracks().length) return { level: 0, why: 'no audio track' };
    audio ??= new AudioContext();
    if (audio.state !== 'running') await audio.resume();
    let ear = ears.get(stream);
    if (!ear) {
      ear = Object.assign(audio.createAnalyser(), { fftSize: 4096, smoothingTimeConstant: 0 });
      audio.createMediaStreamSource(stream).connect(ear);
      ears.set(stream, ear);
    }
    const wave = new Float32Array(ear.fftSize), tones = new Float32Array(ear.frequencyBinCount);
    ear.getFloatTimeDomainData(wave);
    ear.getFloatFrequencyData(tones);
    const level = Math.sqrt(wave.reduce((sum, value) => sum + value * value, 0) / wave.length);
    const hertz = tones.indexOf(tones.reduce((a, b) => Math.max(a, b))) * audio.sampleRate / ear.fftSize;
    return { level, hertz: Math.round(hertz), ...(await received()).audio };
  }

  // ── Elements ──

  const visible = (selector) => {
    const element = find(selector);
    const box = element?.getBoundingClientRect();
    return Boolean(box && box.width && box.height && (element.checkVisibility?.({ visibilityProperty: true }) ?? true));
  };
  const pressable = (selector) => visible(selector) && !find(selector).disabled;
  const text = (selector) => find(selector)?.innerText ?? null;
  const attribute = (selector, name) => find(selector)?.getAttribute(name) ?? null;
  const count = (selector) => document.querySelectorAll(selector).length;

  return {
    iceServers, open, received, firstPicture, pictures, different, sound, visible, pressable, text, attribute, count,
  };
})();
