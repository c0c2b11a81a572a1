// Inspects a page from the inside: pictures, sound, connections. Runs before the page's own scripts, in any browser,
// and changes nothing that they could notice.

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
  const alive = (called) => connections.filter(({ connection }) => connection.connectionState !== 'closed'
    && Boolean(connection.remoteDescription) === called).length;
  /** Those of calls that go on. */
  const open = () => alive(true);
  /** Those that wait for a call. */
  const ready = () => alive(false);

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
        bytes: entry.bytesReceived, packets: entry.packetsReceived, lost: entry.packetsLost, at: entry.timestamp,
        energy: entry.totalAudioEnergy, samples: entry.totalSamplesReceived, concealed: entry.concealedSamples,
      };
    }
    return out;
  }

  /** What each open connection did with its video, for the message of a test that waits in vain. */
  async function videoCounts() {
    const counts = connections.map(async ({ connection }) => {
      if (connection.connectionState === 'closed') return [];
      return [...(await connection.getStats()).values()]
        .filter(({ type, kind }) => type === 'inbound-rtp' && kind === 'video')
        .map((of) => `${of.packetsReceived} packets, ${of.packetsLost} lost, ${of.framesReceived} frames, ` +
          `${of.framesDecoded} decoded, ${of.framesDropped} dropped, ${of.keyFramesDecoded} key, ${of.pliCount} PLI, ` +
          `jitter buffer ${of.jitterBufferDelay} s, target ${of.jitterBufferTargetDelay} s`);
    });
    return (await Promise.all(counts)).flat().join('; ');
  }

  /** Where the newest connection that stands sends to: { address, port, protocol, type }. */
  async function remoteCandidate() {
    const last = connections.filter(({ connection }) => connection.connectionState === 'connected').pop();
    const report = await last?.connection.getStats() ?? new Map();
    const [transport] = [...report.values()].filter(({ type }) => type === 'transport');
    const pair = report.get(transport?.selectedCandidatePairId);
    const { address, port, protocol, candidateType } = report.get(pair?.remoteCandidateId) ?? {};
    return { address, port, protocol, type: candidateType };
  }

  // ── Pictures ──

  let pressed = 0; // the time of the last press, or of the page's start
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

  // The two rows of blocks that src/media/source/gst/pattern.rs draws and describes.
  const BLOCKS = 32, HALF = 16, CLEAR = 64;
  const canvas = document.createElement('canvas');
  let context;
  function read(video) {
    const { videoWidth: width, videoHeight: height } = video;
    if (!width) return null;
    const row = Math.max(16, Math.floor(height / 22) & ~15);
    if (canvas.width !== width || canvas.height !== 2 * row) {
      Object.assign(canvas, { width, height: 2 * row });
      context = canvas.getContext('2d', { willReadFrequently: true });
    }
    context.drawImage(video, 0, 0, width, 2 * row, 0, 0, width, 2 * row);
    const now = Date.now();
    const { data } = context.getImageData(0, 0, width, 2 * row);
    const green = (x, y) => data[4 * (y * width + x) + 1];
    let counter = 0, clock = 0;
    for (let i = 0; i < BLOCKS; i++) {
      const x = Math.floor((i + 0.5) * width / BLOCKS);
      const difference = green(x, row / 2) - green(x, row + row / 2);
      if (Math.abs(difference) < CLEAR) return null; // no pattern, or an unreliable one
      if (difference > 0) i < HALF ? (counter |= 1 << i) : (clock |= 1 << (i - HALF));
    }
    // Both wrap at 65536; a delay is a small number of milliseconds, and may be slightly negative.
    const age = (now - clock) & 0xffff;
    return { counter, clock, delay: age < 0x8000 ? age : age - 0x10000, width, height };
  }

  /** The next `count` pictures as they are shown, or { error }. */
  function pictures(selector, count, patience) {
    return new Promise((done) => {
      const out = [];
      const video = find(selector);
      let unread = 0;
      if (!video) return done({ error: 'no such element' });
      const { currentTime } = video;
      const late = setTimeout(async () => done({
        error: `${out.length} of ${count} within ${patience} ms, and ${unread} whose pattern could not be read; ` +
          `paused ${video.paused}, ready ${video.readyState}, played ${(video.currentTime - currentTime).toFixed(1)} s, ` +
          `${video.videoWidth}x${video.videoHeight}, page ${document.visibilityState}, ${await videoCounts()}`,
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
    // Without an audio device, Firefox never starts the context, and does not report that.
    if (audio.state !== 'running') await Promise.race([audio.resume(), new Promise((late) => setTimeout(late, 1000))]);
    if (audio.state !== 'running') return { level: 0, why: `the audio context is ${audio.state}`, ...(await received()).audio };
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

  /** Of all connections of the page. */
  const receivers = () => connections.flatMap(({ connection }) => connection.getReceivers());

  return {
    receivers, iceServers, open, ready, received, remoteCandidate, firstPicture, read, pictures, different, sound, visible, pressable, text, attribute, count,
  };
})();
