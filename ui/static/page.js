// @ts-check
// The page of tgfs: the list of files with their states and URLs, and a player. All URLs are relative,
// so that a token in the path (`/t/<token>/`) stays in them.

/** Interval between requests for the list, in milliseconds: while a file is being stored, and otherwise. */
const BUSY_POLL = 2000;
const QUIET_POLL = 10000;
const FINAL_STATES = new Set(['stored', 'plain', 'failed']);

/** @param {string} id @returns {any} */
const element = id => document.getElementById(id);
/** @type {HTMLVideoElement & { hls?: any, faults?: any[] }} */
const video = element('video');
/** The page's own place: everything else lies beside it. Behind a proxy the server does not know it. */
const here = new URL('.', location.href);
/** Place without a token in its path. */
const open = new URL(here.href.replace(/\/t\/[^/]+\/$/, '/'));
const hasToken = open.href !== here.href;
/** @type {any} */
let library = { files: [], total: 0 };
let lastText = '';
/** @type {string | null} */
let current = null;
/** @type {Map<string, any>} */
const cards = new Map();
let timer = 0;

// ---- the list ----

async function refresh() {
  clearTimeout(timer);
  try {
    const answer = await fetch('files.json');
    if (answer.status === 401) {
      askToSignIn();
      return;
    }
    if (!answer.ok) throw new Error((await answer.text()).trim());
    const text = await answer.text();
    element('unlock').hidden = true;
    element('sign-out').hidden = hasToken;
    if (text !== lastText) {
      lastText = text;
      library = JSON.parse(text);
    }
    render();
    startFromAddress();
  } catch (error) {
    element('summary').textContent = `The server does not answer (${error instanceof Error ? error.message : error}). Trying again…`;
  }
  const busy = library.files.some((/** @type {any} */ file) => !FINAL_STATES.has(file.state));
  timer = setTimeout(refresh, busy ? BUSY_POLL : QUIET_POLL);
}

function askToSignIn() {
  element('summary').textContent = 'Not signed in';
  element('unlock').hidden = false;
  element('sign-out').hidden = true;
  element('files').replaceChildren();
  cards.clear();
  lastText = '';
}

/** @param {Event} event */
async function signIn(event) {
  event.preventDefault();
  const said = element('unlock-error');
  said.textContent = '';
  const form = new URLSearchParams({ token: element('token').value.trim() });
  try {
    const answer = await fetch('login', { method: 'POST', body: form });
    if (!answer.ok) throw new Error((await answer.text()).trim());
    element('token').value = '';
    refresh();
  } catch (error) {
    said.textContent = error instanceof Error ? error.message : String(error);
  }
}

async function signOut() {
  await fetch('logout', { method: 'POST' }).catch(() => null);
  stop();
  element('player').hidden = true;
  refresh();
}

function render() {
  const wanted = element('filter').value.trim().toLowerCase();
  const shown = library.files.filter((/** @type {any} */ file) => file.path.toLowerCase().includes(wanted));
  const list = element('files');
  const ids = new Set(shown.map((/** @type {any} */ file) => file.id));
  for (const [id, card] of cards) {
    if (!ids.has(id)) {
      card.remove();
      cards.delete(id);
    }
  }
  let before = null;
  for (const file of shown) {
    let card = cards.get(file.id);
    if (!card) {
      card = element('card').content.firstElementChild.cloneNode(true);
      card.querySelector('.play').addEventListener('click', () => play(card.file));
      card.querySelector('details').addEventListener('toggle', () => addresses(card));
      cards.set(file.id, card);
    }
    fill(card, file);
    const place = before ? before.nextElementSibling : list.firstElementChild;
    if (place !== card) list.insertBefore(card, place);
    before = card;
  }
  element('empty').hidden = library.files.length > 0;
  const bytes = library.files.reduce((/** @type {number} */ sum, /** @type {any} */ file) => sum + file.size, 0);
  const part = library.files.length < library.total ? ` (the first ${library.files.length} are shown)` : '';
  element('summary').textContent = `${library.total} ${library.total === 1 ? 'file' : 'files'}, ${size(bytes)}${part}`;
}

/** @param {any} card @param {any} file */
function fill(card, file) {
  const text = JSON.stringify(file);
  card.classList.toggle('current', file.id === current);
  if (card.text === text) return;
  card.text = text;
  card.file = file;
  const cut = file.path.lastIndexOf('/');
  const name = card.querySelector('.name');
  name.textContent = file.path.slice(cut + 1);
  if (cut > 0) {
    const folder = document.createElement('small');
    folder.textContent = file.path.slice(1, cut);
    name.append(folder);
  }
  const state = card.querySelector('.state');
  state.dataset.state = file.state;
  const moving = !FINAL_STATES.has(file.state);
  state.textContent = moving && file.progress > 0 ? `${file.state} ${file.progress} %` : file.state;
  if (moving && file.upload) state.textContent += rest(file.upload);
  const progress = card.querySelector('progress');
  progress.hidden = !moving;
  progress.value = file.progress;
  card.querySelector('.facts').textContent = facts(file).join(' · ');
  const error = card.querySelector('.error');
  error.textContent = file.error ?? '';
  error.hidden = !file.error;
  card.querySelector('.play').hidden = !file.has_views;
  if (card.querySelector('details').open) addresses(card);
}

/** Returns the rate of an upload and the time left. @param {any} upload */
function rest(upload) {
  const rate = upload.bytes_per_second ? `, ${size(upload.bytes_per_second)}/s` : '';
  return upload.seconds_left ? `${rate}, ${time(upload.seconds_left)} left` : rate;
}

/** @param {any} file */
function facts(file) {
  const out = [size(file.size)];
  if (file.duration) out.push(time(file.duration));
  if (file.resolution) out.push(`${file.resolution[0]}×${file.resolution[1]}`);
  if (file.bitrate) out.push(`${(file.bitrate / 1e6).toFixed(1)} Mbit/s`);
  if (file.codecs.length) out.push(file.codecs.join(', '));
  if (file.subtitles.length) out.push(`${file.subtitles.length} ${file.subtitles.length === 1 ? 'subtitle' : 'subtitles'}`);
  return out;
}

/** @param {any} card */
function addresses(card) {
  const list = card.querySelector('dl');
  if (!card.querySelector('details').open) return;
  const file = card.file;
  const at = (/** @type {URL} */ base, /** @type {string} */ path) => new URL(path.slice(1), base).href;
  const rows = [[hasToken ? 'The file itself, with the token' : 'The file itself, while signed in', at(here, file.direct)]];
  if (file.hls_local) rows.unshift(['HLS, from where this page is', at(open, file.hls_local)]);
  if (file.hls_public) rows.splice(1, 0, ['HLS from anywhere', library.public + file.hls_public]);
  list.replaceChildren(...rows.map(([label, url]) => {
    const row = element('address').content.firstElementChild.cloneNode(true);
    const input = row.querySelector('input');
    row.querySelector('dt').textContent = label;
    input.value = url;
    input.setAttribute('aria-label', label);
    row.querySelector('button').addEventListener('click', (/** @type {any} */ event) => copy(event.currentTarget, input));
    return row;
  }));
}

/** @param {HTMLButtonElement} button @param {HTMLInputElement} input */
async function copy(button, input) {
  let done = false;
  try {
    await navigator.clipboard.writeText(input.value);
    done = true;
  } catch {
    // The clipboard API needs HTTPS; on plain HTTP the older command works.
    input.select();
    done = document.execCommand('copy');
  }
  button.textContent = done ? 'Copied' : 'Press Ctrl+C';
  setTimeout(() => { button.textContent = 'Copy'; }, 1500);
}

/** @param {number} bytes */
function size(bytes) {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB'];
  let unit = 0;
  while (bytes >= 1024 && unit < units.length - 1) {
    bytes /= 1024;
    unit += 1;
  }
  return `${unit === 0 ? bytes : bytes.toFixed(1)} ${units[unit]}`;
}

/** @param {number} seconds */
function time(seconds) {
  const whole = Math.round(seconds);
  const two = (/** @type {number} */ value) => String(value).padStart(2, '0');
  const hours = Math.floor(whole / 3600);
  const minutes = Math.floor(whole / 60) % 60;
  return hours ? `${hours}:${two(minutes)}:${two(whole % 60)}` : `${minutes}:${two(whole % 60)}`;
}

// ---- the player ----

/** Plays the file that `#<id>` in the URL names, so that a link can open a film. */
function startFromAddress() {
  const id = location.hash.slice(1);
  if (!id || id === current) return;
  const file = library.files.find((/** @type {any} */ file) => file.id === id || file.slug === id);
  if (file?.has_views && file.id !== current) play(file);
}

/** @param {any} file */
function play(file) {
  stop();
  current = file.id;
  history.replaceState(null, '', `#${file.id}`);
  element('player').hidden = false;
  element('playing').textContent = file.path.slice(file.path.lastIndexOf('/') + 1);
  const url = `playlist/local/${file.id}.m3u8`;
  // @ts-ignore: hls.js is a classic script, and absent from a build without the player.
  const Hls = window.Hls;
  if (Hls?.isSupported()) {
    playWith(Hls, url);
  } else if (video.canPlayType('application/vnd.apple.mpegurl')) {
    video.src = url;
    video.addEventListener('loadedmetadata', nativeTracks, { once: true });
  } else {
    fault(Hls
      ? 'This browser cannot play HLS.'
      : 'This browser does not play HLS by itself, and this build has no player. Run scripts/setup-ui and build again.');
    return;
  }
  loadPreview(file);
  loadChapters(file.chapters ?? []);
  video.play().catch(() => { /* Browsers may require a press on their own play button first. */ });
  element('player').scrollIntoView({ behavior: 'smooth', block: 'start' });
  render();
}

/** @param {any} Hls @param {string} url */
function playWith(Hls, url) {
  const hls = new Hls({ maxBufferLength: 30, backBufferLength: 60 });
  video.hls = hls;
  video.faults = [];
  let recovered = 0;
  hls.on(Hls.Events.ERROR, (/** @type {any} */ _, /** @type {any} */ data) => {
    video.faults?.push({ type: data.type, details: data.details, fatal: data.fatal });
    if (!data.fatal) return;
    if (data.type === Hls.ErrorTypes.MEDIA_ERROR && recovered < 2) {
      recovered += 1;
      hls.recoverMediaError();
      return;
    }
    fault(data.details === 'manifestIncompatibleCodecsError'
      ? 'This browser has no decoder for this film. Open one of the addresses below in VLC, mpv or Kodi.'
      : `Playback stopped: ${data.details}.`);
  });
  hls.on(Hls.Events.AUDIO_TRACKS_UPDATED, () => choices('audio',
    hls.audioTracks.map((/** @type {any} */ track, /** @type {number} */ at) => [String(at), track.name || track.lang]), String(hls.audioTrack)));
  hls.on(Hls.Events.AUDIO_TRACK_SWITCHED, () => { element('audio').value = String(hls.audioTrack); });
  hls.on(Hls.Events.SUBTITLE_TRACKS_UPDATED, () => choices('subtitles', [['-1', 'Off'],
    ...hls.subtitleTracks.map((/** @type {any} */ track, /** @type {number} */ at) => [String(at), track.name || track.lang])], String(hls.subtitleTrack)));
  hls.on(Hls.Events.SUBTITLE_TRACK_SWITCH, () => { element('subtitles').value = String(hls.subtitleTrack); });
  element('audio').onchange = () => { hls.audioTrack = Number(element('audio').value); };
  element('subtitles').onchange = () => {
    hls.subtitleDisplay = true;
    hls.subtitleTrack = Number(element('subtitles').value);
  };
  hls.loadSource(url);
  hls.attachMedia(video);
}

// ---- thumbnails while scrubbing ----

/** @type {{ from: number, sheet: string, place: number[] }[]} */
let pictures = [];

/** Loads the film's thumbnails, if it has any: a WebVTT track of regions of images. @param {any} file */
async function loadPreview(file) {
  pictures = [];
  element('scrub').hidden = true;
  if (!file.has_thumbnails) return;
  const base = `segment/${file.id}/`;
  const answer = await fetch(`${base}thumbnails.vtt`).catch(() => null);
  if (!answer?.ok) return;
  const text = await answer.text();
  if (file.id !== current) return;
  for (const [, hours, minutes, seconds, sheet, place] of
    text.matchAll(/^(\d+):(\d+):([\d.]+) --> .*\n(.+)#xywh=([\d,]+)$/gm)) {
    const from = Number(hours) * 3600 + Number(minutes) * 60 + Number(seconds);
    pictures.push({ from, sheet: base + sheet, place: place.split(',').map(Number) });
  }
  element('scrub').hidden = pictures.length === 0;
}

/** @param {PointerEvent} event */
function timeAt(event) {
  const box = element('scrub').getBoundingClientRect();
  const part = Math.min(1, Math.max(0, (event.clientX - box.left) / box.width));
  return part * (video.duration || 0);
}

/** @param {PointerEvent} event */
function preview(event) {
  const at = timeAt(event);
  const picture = pictures.findLast(one => one.from <= at) ?? pictures[0];
  if (!picture) return;
  const [x, y, width, height] = picture.place;
  const box = element('scrub').getBoundingClientRect();
  const shown = element('preview');
  const left = Math.min(box.width - width, Math.max(0, event.clientX - box.left - width / 2));
  Object.assign(shown.style, {
    left: `${left}px`, width: `${width}px`, height: `${height}px`,
    backgroundImage: `url("${picture.sheet}")`, backgroundPosition: `-${x}px -${y}px`,
  });
  shown.querySelector('span').textContent = time(at);
  shown.hidden = false;
}

element('scrub').addEventListener('pointermove', preview);
element('scrub').addEventListener('pointerleave', () => { element('preview').hidden = true; });
element('scrub').addEventListener('click', (/** @type {PointerEvent} */ event) => { video.currentTime = timeAt(event); });
video.addEventListener('timeupdate', () => {
  element('played').style.width = `${100 * video.currentTime / (video.duration || 1)}%`;
  showChapter();
});

// ---- chapters ----

/** @type {{ start: number, end: number, title: string }[]} */
let chapters = [];

/** Fills the menu of chapters, which leads to their starts. @param {typeof chapters} list */
function loadChapters(list) {
  chapters = list;
  choices('chapters', list.map((one, at) => [String(at), `${time(one.start)} ${one.title}`]), '0');
  element('chapters-label').hidden = list.length === 0;
}

/** Lets the menu show the chapter that plays. */
function showChapter() {
  const at = chapters.findLastIndex(one => one.start <= video.currentTime + 0.05);
  if (document.activeElement !== element('chapters')) element('chapters').value = String(Math.max(0, at));
}

element('chapters').addEventListener('change', () => {
  const chapter = chapters[Number(element('chapters').value)];
  if (chapter) video.currentTime = chapter.start;
});

/** Fills the menu of subtitles in browsers that play HLS themselves. */
function nativeTracks() {
  const texts = [...video.textTracks];
  choices('subtitles', [['-1', 'Off'], ...texts.map((track, at) => [String(at), track.label || track.language])], '-1');
  element('subtitles').onchange = () => {
    const chosen = Number(element('subtitles').value);
    texts.forEach((track, at) => { track.mode = at === chosen ? 'showing' : 'disabled'; });
  };
}

/** @param {string} id @param {string[][]} options @param {string} value */
function choices(id, options, value) {
  const select = element(id);
  select.replaceChildren(...options.map(([key, label]) => new Option(label, key)));
  select.value = value;
  element(`${id}-label`).hidden = options.length < 2;
}

/** @param {string} text */
function fault(text) {
  element('player-error').textContent = text;
}

function stop() {
  video.hls?.destroy();
  video.hls = undefined;
  video.removeAttribute('src');
  video.load();
  current = null;
  pictures = [];
  element('scrub').hidden = true;
  fault('');
  choices('audio', [], '');
  choices('subtitles', [], '');
  loadChapters([]);
}

// ---- events ----

element('filter').addEventListener('input', render);
element('close').addEventListener('click', () => {
  stop();
  history.replaceState(null, '', location.pathname);
  element('player').hidden = true;
  render();
});
element('unlock').addEventListener('submit', signIn);
element('sign-out').addEventListener('click', signOut);
addEventListener('hashchange', startFromAddress);
document.addEventListener('visibilitychange', () => {
  if (document.hidden) clearTimeout(timer);
  else refresh();
});
refresh();
