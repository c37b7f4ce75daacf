// node tests/browser/players.mjs < WANTED.json
//
// Plays films in a browser without a window with several players: from the start, then after a seek.
// WANTED is {browser, page, players: {NAME: script}, films: [{name, url, picture, sound, players: [NAME]}]}; `page` is a page of the
// daemon, so that everything has one origin. Prints {NAME: {PLAYER: {plays, why}}}.
import { readFileSync } from 'node:fs';
import { withPage } from './open.mjs';

/** Milliseconds for one step. Generous: the machine may be busy, and nothing here measures speed. */
const STEP = 20_000;

/** Runs in the page. */
const play = async ({ player, url, picture, sound, step }) => {
  const names = { hvc1: 'HEVC', hev1: 'HEVC', 'mp4v.61': 'MPEG-2', 'mp4v.20': 'MPEG-4' };
  const text = await (await fetch(url)).text();
  const codecs = [...text.matchAll(/CODECS="([^"]*)"/g)].map(found => found[1].split(',')[0]);
  const known = codecs.some(codec => MediaSource.isTypeSupported(`${picture ? 'video' : 'audio'}/mp4; codecs="${codec}"`));
  document.body.replaceChildren();
  const video = document.createElement('video');
  document.body.append(video);
  let fatal;
  let where = '';
  let close = () => {};
  const faults = [];
  const until = async (what, holds) => {
    const end = performance.now() + step;
    while (!holds()) {
      if (fatal) throw new Error(fatal);
      if (video.error) throw new Error(video.error.message);
      if (performance.now() > end) throw new Error(`${what} does not come`);
      await new Promise(done => setTimeout(done, 50));
    }
  };
  const plays = async (what, from) => {
    const behind = video.getVideoPlaybackQuality().totalVideoFrames;
    const frames = () => video.getVideoPlaybackQuality().totalVideoFrames;
    const shown = () => !picture || video.ended || frames() >= behind + 5;
    await until(what, () => shown() && (video.currentTime > from + 0.4 || video.ended));
    // Firefox counts no bytes.
    if (sound && !video.webkitAudioDecodedByteCount && !video.mozHasAudio) throw new Error('it decodes no sound');
  };
  try {
    if (player === 'hls.js') {
      const hls = new Hls();
      close = () => hls.destroy();
      hls.on(Hls.Events.ERROR, (_, data) => {
        faults.push(data.details);
        if (data.fatal) fatal = data.details;
      });
      hls.loadSource(url);
      hls.attachMedia(video);
    } else if (player === 'video.js') {
      const own = videojs(video, { controls: false, html5: { vhs: { overrideNative: true } } });
      close = () => own.dispose();
      own.on('error', () => { fatal = own.error().message; });
      own.src({ src: url, type: 'application/x-mpegURL' });
    } else {
      shaka.polyfill.installAll();
      const own = new shaka.Player();
      close = () => own.destroy();
      await own.attach(video);
      own.addEventListener('error', event => { fatal = `error ${event.detail.code}`; });
      await own.load(url).catch(error => { throw new Error(`error ${error.code ?? error}`); });
    }
    // Play at once, as a person would: players do not skip gaps while paused.
    video.play().catch(() => {});
    await plays('a picture', 0);
    where = 'behind a seek ';
    const target = video.duration * 0.7;
    video.currentTime = target;
    await until('the seek', () => !video.seeking && video.readyState >= 2);
    await plays('a picture', target);
    return { plays: true, faults };
  } catch (error) {
    const codec = codecs[0] ?? '';
    const name = names[codec.slice(0, 4)] ?? names[codec] ?? codec;
    // A picture that the decoder refuses fails the media element, and players tell of that or just wait: Shaka's error
    // 3016 is the element's, 3014 and 3015 are those of the next append, whichever comes first; video.js has a sentence.
    const stops = /DECODE|error 301[456]|playback was aborted|does not come/.test(error.message);
    const why = known ? where + (stops ? 'it stops' : error.message) : `no decoder for ${name}`;
    return { plays: false, why, said: error.message, faults };
  } finally {
    await close();
  }
};

const wanted = JSON.parse(readFileSync(0, 'utf8'));
const found = {};
await withPage(wanted.browser, wanted.page, async page => {
  for (const path of Object.values(wanted.players)) await page.add(path);
  for (const film of wanted.films) {
    found[film.name] = {};
    // The page may have gone on to its login since, and taken the scripts with it.
    if (wanted.browser === 'Firefox') for (const path of Object.values(wanted.players)) await page.add(path);
    for (const player of film.players) {
      found[film.name][player] = await page.evaluate(play, { ...film, player, step: STEP });
    }
  }
});
console.log(JSON.stringify(found));
