// Runs in a page: takes a call, and sends what it is told to with the browser's own API. A test calls `sender`.

(() => {
  const sleep = (ms) => new Promise((next) => setTimeout(next, ms));
  const LOOP = 40; // ms, a picture of 25 fps

  /** A moving picture of this size, drawn here: `flash` makes it white for a moment. */
  function drawn(width, height, hue = 0) {
    const canvas = Object.assign(document.createElement('canvas'), { width, height });
    const pen = canvas.getContext('2d');
    let [n, white] = [0, 0];
    const timer = setInterval(() => {
      n += 1;
      pen.fillStyle = white-- > 0 ? '#fff' : `hsl(${hue}, 60%, 20%)`;
      pen.fillRect(0, 0, width, height);
      pen.fillStyle = '#aaa';
      pen.fillRect((n * 7) % width, (n * 3) % height, width / 6, height / 6);
    }, LOOP);
    const [track] = canvas.captureStream(25).getVideoTracks();
    // Drawn at once, so that a tone can begin with it.
    const flash = () => {
      white = 3;
      pen.fillStyle = '#fff';
      pen.fillRect(0, 0, width, height);
    };
    return { track, flash, stop: () => clearInterval(timer) };
  }

  /** Silence, and `beep` for 100 ms. */
  function tone() {
    const context = new AudioContext();
    const [source, gain, out] = [context.createOscillator(), context.createGain(), context.createMediaStreamDestination()];
    gain.gain.value = 0;
    source.connect(gain).connect(out);
    source.start();
    const beep = () => {
      gain.gain.setValueAtTime(0.9, context.currentTime);
      gain.gain.setValueAtTime(0, context.currentTime + 0.1);
    };
    return { track: out.stream.getAudioTracks()[0], beep };
  }

  class Sender {
    seen = { called: 0, states: [], ended: undefined, faults: [] };

    constructor(url, user, { kinds = ['audio', 'video'], codec, size = [640, 360], drawn: draws = false, beeps = false } = {}) {
      Object.assign(this, { kinds, codec, size, draws, beeps, queue: Promise.resolve(), answers: [] });
      const socket = this.socket = new WebSocket(url);
      socket.onopen = () => this.send({ type: 'auth', user, rooms: ['public'] });
      socket.onmessage = ({ data }) => {
        const message = JSON.parse(data);
        if (message.type === 'welcome') this.online = true;
        if (!String(message.subtype).startsWith('call:')) return;
        this.queue = this.queue.then(() => this.handle(message)).catch((error) => this.seen.faults.push(String(error)));
      };
    }

    send(message) { this.socket.send(JSON.stringify(message)); }
    signal(subtype, data) { this.send({ type: 'message', subtype, to: this.to, call: this.call, data }); }

    async handle({ subtype, from, call, data }) {
      if (subtype === 'call:init') {
        this.seen.called += 1;
        [this.to, this.call, this.early, this.described] = [from, call, [], false];
        this.connect();
        this.signal('call:accept', {});
      }
      if (call !== this.call) return;
      if (subtype === 'call:offer') {
        await this.pc.setRemoteDescription({ type: 'offer', sdp: data.sdp });
        if (!this.tracks) await this.capture();
        await this.pc.setLocalDescription(await this.pc.createAnswer());
        this.signal('call:answer', { type: 'answer', sdp: this.pc.localDescription.sdp });
        await this.ready();
      } else if (subtype === 'call:answer') {
        await this.pc.setRemoteDescription({ type: 'answer', sdp: data.sdp });
        await this.ready();
        this.answers.push(data.sdp);
      } else if (subtype === 'call:candidate') {
        if (!data?.candidate) return;
        const init = { ...data, candidate: data.candidate.replace(/^a=/, '') };
        if (this.described) await this.pc.addIceCandidate(init);
        else this.early.push(init);
      } else if (['call:hangup', 'call:reject'].includes(subtype)) {
        this.seen.ended = data?.reason ?? subtype;
        this.pc.close();
      }
    }

    async ready() {
      this.described = true;
      for (const init of this.early.splice(0)) await this.pc.addIceCandidate(init);
    }

    connect() {
      const pc = this.pc = new RTCPeerConnection({ bundlePolicy: 'max-bundle' });
      pc.onicecandidate = ({ candidate }) => candidate?.candidate
        && this.signal('call:candidate', { candidate: candidate.candidate, sdpMid: candidate.sdpMid, sdpMLineIndex: candidate.sdpMLineIndex });
      pc.onconnectionstatechange = () => this.seen.states.push(pc.connectionState);
    }

    /** Opens what is sent, and puts it where the other side takes it. */
    async capture() {
      const [width, height] = this.size;
      this.tracks = {};
      if (this.draws) {
        this.picture = drawn(width, height);
        this.tracks.video = this.picture.track;
      }
      if (this.beeps) {
        this.tone = tone();
        this.tracks.audio = this.tone.track;
      }
      const wish = {
        audio: this.kinds.includes('audio') && !this.beeps,
        video: this.kinds.includes('video') && !this.draws && { width, height, frameRate: 30 },
      };
      if (wish.audio || wish.video) {
        const stream = await navigator.mediaDevices.getUserMedia(wish);
        for (const track of stream.getTracks()) this.tracks[track.kind] = track;
      }
      for (const kind of this.kinds) this.add(kind, this.tracks[kind]);
    }

    add(kind, track) {
      const sender = this.pc.addTrack(track);
      if (kind !== 'video' || !this.codec) return;
      const transceiver = this.pc.getTransceivers().find((one) => one.sender === sender);
      const wanted = ({ mimeType }) => [`video/${this.codec}`, 'video/rtx'].includes(mimeType);
      transceiver.setCodecPreferences(RTCRtpSender.getCapabilities('video').codecs.filter(wanted));
    }

    /** Encodes with the codec from now on, if the browser lets one choose: others that were offered may come as well. */
    async encode(codec) {
      const { sender } = this.transceiver('video');
      const parameters = sender.getParameters();
      const found = parameters.codecs.find(({ mimeType }) => mimeType === `video/${codec}`);
      for (const encoding of parameters.encodings) encoding.codec = found;
      await sender.setParameters(parameters);
    }

    transceiver(kind) { return this.pc.getTransceivers().find((one) => one.currentDirection !== 'stopped' && one.receiver.track.kind === kind); }

    /** Offers what has changed; resolves with the answer. */
    async negotiate(options) {
      const before = this.answers.length;
      await this.pc.setLocalDescription(await this.pc.createOffer(options));
      this.signal('call:offer', { type: 'offer', sdp: this.pc.localDescription.sdp });
      while (this.answers.length === before) {
        if (this.seen.faults.length) throw new Error(this.seen.faults.join('; '));
        await sleep(20);
      }
      return this.answers.at(-1);
    }

    /** Changes the directions of sections: { video: 'inactive' }. */
    direct(directions) {
      for (const [kind, direction] of Object.entries(directions)) this.transceiver(kind).direction = direction;
      return this.negotiate();
    }

    /** Stops the section of a kind. */
    stop(kind) {
      this.transceiver(kind).stop();
      return this.negotiate();
    }

    /** Sends a drawn picture where nothing is sent so far. */
    again(kind, width, height) {
      this.picture?.stop();
      this.picture = drawn(width, height, 240);
      this.add(kind, this.picture.track);
      return this.negotiate();
    }

    /** Encodes no further frame. */
    async still() {
      const { sender } = this.transceiver('video');
      await sender.replaceTrack(null);
      await sleep(300);
    }

    /** Flashes and beeps at once, so often. */
    async marks(count, ms) {
      for (let n = 0; n < count; n++) {
        this.picture.flash();
        this.tone.beep();
        await sleep(ms);
      }
    }

    /** Another picture, of another size, in the camera's place. */
    async replace(width, height) {
      this.picture?.stop();
      this.picture = drawn(width, height, 120);
      await this.transceiver('video').sender.replaceTrack(this.picture.track);
    }

    /** Another device, or what stands for the screen. */
    async device(n) {
      const devices = (await navigator.mediaDevices.enumerateDevices()).filter(({ kind }) => kind === 'videoinput');
      const stream = await navigator.mediaDevices.getUserMedia({ video: { deviceId: { exact: devices[n].deviceId } } });
      await this.transceiver('video').sender.replaceTrack(stream.getVideoTracks()[0]);
      return devices.length;
    }

    async screen() {
      const stream = await navigator.mediaDevices.getDisplayMedia({ video: true });
      await this.transceiver('video').sender.replaceTrack(stream.getVideoTracks()[0]);
    }

    /** What the browser knows of what it sends. */
    async stats() {
      const all = [...(await this.pc.getStats()).values()];
      const codecs = new Map(all.filter(({ type }) => type === 'codec').map(({ id, mimeType }) => [id, mimeType]));
      const of = (type, kind) => all.filter((one) => one.type === type && one.kind === kind);
      const out = { state: this.pc.connectionState };
      for (const kind of ['audio', 'video']) {
        const [sent] = of('outbound-rtp', kind).filter(({ active }) => active !== false).slice(-1);
        const [told] = of('remote-inbound-rtp', kind).slice(-1);
        const { packetsSent, framesEncoded, keyFramesEncoded, nackCount, pliCount, retransmittedPacketsSent, frameWidth, frameHeight, framesPerSecond, targetBitrate, encoderImplementation } = sent ?? {};
        out[kind] = {
          codec: codecs.get(sent?.codecId), packetsSent, framesEncoded, keyFramesEncoded, nackCount, pliCount, retransmittedPacketsSent, frameWidth, frameHeight, framesPerSecond, targetBitrate,
          encoderImplementation, fractionLost: told?.fractionLost, roundTripTime: told?.roundTripTime, jitter: told?.jitter, packetsLost: told?.packetsLost,
        };
      }
      out.available = all.find(({ type, nominated, state }) => type === 'candidate-pair' && nominated && state === 'succeeded')?.availableOutgoingBitrate;
      return out;
    }
  }

  window.send = (...parameters) => (window.sender = new Sender(...parameters)) && undefined;
})();
