// node tests/browser/synchrony.mjs < WANTED.json
//
// Measures in a browser without a window how far the sound of films is from their pictures, with several players, at the
// start and behind seeks. WANTED is {browser, page, players: {NAME: script}, films: [{name, url}]}; `page` is a page of the
// daemon, so that everything has one origin. The pictures show their own time as 16 bars, and the sound has a burst
// at each second whose pitch tells which (`tests/play/synchrony.rs` makes them). Prints {NAME: {PLAYER: measured}}.
//
// A picture's time is that of the frame on the screen. The time of a sound is found by decoding what the player gave
// to the SourceBuffer, on the time line that SourceBuffer places it on.
import { readFileSync } from 'node:fs';
import { withPage } from './open.mjs';

/** Milliseconds for one step. Generous: the machine may be busy, and nothing here measures speed. */
const STEP = 20_000;

/** Runs in the page before any player: keeps what players append. */
const watch = async () => {
  window.appended = new Map();
  const add = MediaSource.prototype.addSourceBuffer;
  MediaSource.prototype.addSourceBuffer = function (type) {
    const buffer = add.call(this, type);
    window.appended.set(buffer, { type, parts: [] });
    return buffer;
  };
  const append = SourceBuffer.prototype.appendBuffer;
  SourceBuffer.prototype.appendBuffer = function (data) {
    const bytes = new Uint8Array(ArrayBuffer.isView(data) ? data.buffer.slice(data.byteOffset, data.byteOffset + data.byteLength) : data.slice(0));
    const part = { bytes, offset: this.timestampOffset };
    window.appended.get(this)?.parts.push(part);
    // In the mode `sequence` the offset is known behind the append.
    if (this.mode === 'sequence') this.addEventListener('updateend', () => { part.offset = this.timestampOffset; }, { once: true });
    return append.call(this, data);
  };
};

/** Runs in the page. */
const measure = async ({ browser, player, url, step }) => {
  document.body.replaceChildren();
  window.appended.clear();
  const video = document.createElement('video');
  video.muted = true;
  document.body.append(video);
  let fatal;
  let close = () => {};
  const out = { places: [] };
  const until = async (what, holds) => {
    const end = performance.now() + step;
    while (!holds()) {
      if (fatal) throw new Error(fatal);
      if (video.error) throw new Error(video.error.message);
      if (performance.now() > end) throw new Error(`${what} does not come`);
      await new Promise(done => setTimeout(done, 20));
    }
  };
  const open = {
    'hls.js': async () => {
      const hls = new Hls();
      close = () => hls.destroy();
      hls.on(Hls.Events.ERROR, (_, data) => { if (data.fatal) fatal = data.details; });
      hls.loadSource(url);
      hls.attachMedia(video);
    },
    Shaka: async () => {
      shaka.polyfill.installAll();
      const own = new shaka.Player();
      close = () => own.destroy();
      await own.attach(video);
      own.addEventListener('error', event => { fatal = `error ${event.detail.code}`; });
      await own.load(url).catch(error => { throw new Error(`error ${error.code ?? error}`); });
    },
    'video.js': async () => {
      const own = videojs(video, { controls: false, html5: { vhs: { overrideNative: true } } });
      close = () => own.dispose();
      own.on('error', () => { fatal = own.error().message; });
      own.src({ src: url, type: 'application/x-mpegURL' });
    },
  };
  /** Reads the time in seconds from the bars of the frame on the screen. */
  const canvas = new OffscreenCanvas(320, 180);
  const context = canvas.getContext('2d', { willReadFrequently: true });
  const read = media => {
    context.drawImage(media, 0, 0, 320, 180);
    const line = context.getImageData(0, 90, 320, 1).data;
    return [...Array(16)].reduce((sum, _, bit) => sum + (line[(bit * 20 + 10) * 4] > 128 ? 2 ** bit : 0), 0) / 1000;
  };
  /** Waits for eight frames and returns [time on the media's line, time in the picture] of each. */
  const frames = async what => {
    const seen = [];
    // In Firefox a canvas may have the frame before or the next one: three looks tell.
    const looks = browser === 'Firefox' ? [0, 10, 10] : [0];
    let frames = 0;
    const next = async (_, frame) => {
      for (const wait of looks) {
        if (wait) await new Promise(done => setTimeout(done, wait));
        seen.push([frame.mediaTime, read(video)]);
      }
      frames += 1;
      if (frames < 8) video.requestVideoFrameCallback(next);
    };
    video.requestVideoFrameCallback(next);
    // A picture that is held for seconds comes alone.
    const enough = () => frames >= 8 || (seen.length && (video.ended || video.currentTime > seen[0][0] + 2));
    await until(`a picture ${what}`, enough);
    return seen;
  };
  /** Returns [time on the media's line, second that the pitch tells] of each burst that was appended. */
  const bursts = async () => {
    const be32 = (bytes, at) => new DataView(bytes.buffer).getUint32(at);
    const find = (bytes, name) => {
      const code = [...name].map(letter => letter.charCodeAt(0));
      const at = bytes.findIndex((_, at) => code.every((byte, place) => bytes[at + place] === byte));
      return at < 0 ? undefined : at + 4;
    };
    const found = [];
    for (const { type, parts } of window.appended.values()) {
      if (!type.startsWith('audio')) continue;
      let init;
      for (const { bytes, offset } of parts) {
        // The header may come with the first segment.
        if (find(bytes.subarray(0, 64), 'ftyp')) {
          const movie = find(bytes, 'moov') - 8;
          init = bytes.slice(0, movie + be32(bytes, movie));
        }
        const media = bytes.slice(find(bytes.subarray(0, 64), 'ftyp') ? init.length : 0);
        const at = find(media, 'tfdt');
        if (at === undefined) continue;
        const timescale = be32(init, find(init, 'mdhd') + (init[find(init, 'mdhd')] === 1 ? 20 : 12));
        const begins = media[at] === 1 ? be32(media, at + 4) * 2 ** 32 + be32(media, at + 8) : be32(media, at + 4);
        const whole = await new Blob([init, media]).arrayBuffer();
        const sound = await new OfflineAudioContext(1, 1, 48000).decodeAudioData(whole);
        const samples = sound.getChannelData(0);
        let quiet = 0;
        for (let place = 0; place < samples.length - 3840; place += 1) {
          if (Math.abs(samples[place]) < 0.1) {
            quiet += 1;
            continue;
          }
          // What is loud from the start of the segment on began in the one before.
          if (quiet > 480 && place > 2400) {
            // From 10 to 60 ms behind the onset the pitch is counted.
            let rises = 0;
            for (let next = place + 480; next < place + 2880; next += 1) rises += samples[next - 1] < 0 && samples[next] >= 0;
            found.push([begins / timescale + offset + place / 48000, Math.round((rises / 0.05 - 400) / 100) + 0.5]);
            place += 12000;
          }
          quiet = 0;
        }
      }
    }
    return found;
  };
  try {
    await open[player]();
    // Play at once, as a person would: players do not skip gaps while paused.
    const first = frames('at the start');
    const played = () => video.play().catch(() => {});
    video.addEventListener('canplay', played);
    played();
    out.places.push(await first);
    for (const part of [0.7, 0.2, 0.5]) {
      const target = video.duration * part;
      const pictures = (async () => {
        video.currentTime = target;
        await until(`the seek to ${target}`, () => !video.seeking && video.readyState >= 2);
        played();
        return frames(`behind ${target}`);
      })();
      out.places.push(await pictures);
    }
  } catch (error) {
    out.error = error.message;
  }
  const ranges = list => [...Array(list.length)].map((_, at) => [list.start(at), list.end(at)]);
  try {
    out.duration = video.duration;
    out.buffers = [...window.appended].map(([buffer, { type, parts }]) => {
      const offsets = [...new Set(parts.map(part => part.offset))];
      try { return { type, offsets, ranges: ranges(buffer.buffered) }; } catch { return { type, offsets }; }
    });
    out.bursts = await bursts();
  } catch (error) {
    out.error ??= error.message;
  }
  await close();
  return out;
};

const wanted = JSON.parse(readFileSync(0, 'utf8'));
const found = {};
await withPage(wanted.browser, wanted.page, async page => {
  await page.evaluate(watch);
  for (const path of Object.values(wanted.players)) await page.add(path);
  for (const film of wanted.films) {
    found[film.name] = {};
    // The page may have gone on to its login since, and taken the scripts with it.
    if (wanted.browser === 'Firefox') for (const path of Object.values(wanted.players)) await page.add(path);
    for (const player of Object.keys(wanted.players)) {
      found[film.name][player] = await page.evaluate(measure, { browser: wanted.browser, url: film.url, player, step: STEP });
    }
  }
});
console.log(JSON.stringify(found));
