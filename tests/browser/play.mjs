// node tests/browser/play.mjs PAGE_URL FILE_ID [--seek SECONDS] [--shots DIR]
//
// Plays one file on the page of a running daemon in headless Chromium, as a person would: presses Play,
// seeks, chooses another audio track and subtitles. Prints what it saw as JSON and exits with status 1 on
// any fault. Needs `scripts/setup-ui --test` and Chromium (CHROMIUM names another binary than
// /usr/bin/chromium).
import { mkdtempSync, rmSync, mkdirSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const { chromium } = createRequire(new URL('../../ui/package.json', import.meta.url))('playwright-core');

/** Milliseconds for one step. Generous: the machine may be busy, and nothing here measures speed. */
const STEP = 60_000;
/** Standard deviation of brightness below which a picture is one flat colour. */
const FLAT = 4;

const [pageUrl, id, ...rest] = process.argv.slice(2);
if (!pageUrl || !id) {
  console.error('usage: play.mjs PAGE_URL FILE_ID [--seek SECONDS] [--shots DIR]');
  process.exit(2);
}
const option = name => {
  const at = rest.indexOf(name);
  return at < 0 ? undefined : rest[at + 1];
};
const shots = option('--shots');
const problems = [];
const expect = (holds, what) => { if (!holds) problems.push(what); };
const out = { page: pageUrl.replace(/\/t\/[^/]+/, '/t/…'), id };
const profile = mkdtempSync(join(tmpdir(), 'tgfs-browser-'));
const context = await chromium.launchPersistentContext(profile, {
  executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
  headless: true,
  viewport: { width: 1280, height: 900 },
  args: ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
    '--disable-component-update', '--disable-sync', '--autoplay-policy=no-user-gesture-required', '--mute-audio'],
});
const page = context.pages()[0] ?? await context.newPage();
page.setDefaultTimeout(STEP);
const said = [];
page.on('console', message => { if (message.type() === 'error') said.push(message.text()); });
page.on('pageerror', error => said.push(`exception: ${error.message}`));

const inVideo = (run, argument) => page.locator('#video').evaluate(run, argument);
const waitFor = async (what, run, argument) => {
  try {
    await page.waitForFunction(run, argument, { timeout: STEP, polling: 100 });
    return true;
  } catch {
    problems.push(`${what} did not happen within ${STEP / 1000} s`);
    return false;
  }
};
const playsOn = async what => {
  const from = await inVideo(video => video.currentTime);
  await waitFor(`${what}: playing on`, at => {
    const video = document.querySelector('#video');
    return video.currentTime > at + 1 || video.ended;
  }, from);
};
/** Standard deviation of the brightness of the picture that is on the screen. */
const picture = async name => {
  const png = await page.locator('#video').screenshot();
  if (shots) writeFileSync(join(shots, `${name}.png`), png);
  return page.evaluate(async data => {
    const image = await createImageBitmap(new Blob([Uint8Array.from(atob(data), c => c.charCodeAt(0))], { type: 'image/png' }));
    const canvas = new OffscreenCanvas(image.width, image.height);
    const context = canvas.getContext('2d');
    context.drawImage(image, 0, 0);
    // The middle, since controls cover the lower edge.
    const pixels = context.getImageData(image.width * 0.15, image.height * 0.1, image.width * 0.7, image.height * 0.55).data;
    let sum = 0, squares = 0, count = 0;
    for (let at = 0; at < pixels.length; at += 4) {
      const light = 0.299 * pixels[at] + 0.587 * pixels[at + 1] + 0.114 * pixels[at + 2];
      sum += light;
      squares += light * light;
      count += 1;
    }
    return Math.round(Math.sqrt(squares / count - (sum / count) ** 2) * 10) / 10;
  }, png.toString('base64'));
};

try {
  if (shots) mkdirSync(shots, { recursive: true });
  await page.goto(pageUrl);
  await page.locator('.file').first().waitFor();
  if (shots) await page.screenshot({ path: join(shots, 'page.png'), fullPage: true });
  await page.goto(`${pageUrl}#${id}`);
  await waitFor('playing', () => document.querySelector('#video').currentTime > 1);
  out.start = await inVideo(video => ({
    duration: video.duration,
    width: video.videoWidth,
    height: video.videoHeight,
    audio: video.hls?.audioTracks.map(track => [track.name, track.lang]) ?? [],
    subtitles: video.hls?.subtitleTracks.map(track => [track.name, track.lang, track.forced]) ?? [],
    chapters: [...document.querySelectorAll('#chapters option')].map(option => option.textContent),
  }));
  expect(out.start.width > 0, 'no video is decoded');
  out.contrast = await picture('start');
  expect(out.contrast > FLAT, `the picture is flat (${out.contrast})`);

  const seekTo = Number(option('--seek') ?? out.start.duration * 0.6);
  await inVideo((video, to) => { video.currentTime = to; }, seekTo);
  await waitFor('the seek', () => {
    const video = document.querySelector('#video');
    return !video.seeking && video.readyState >= 2;
  });
  out.seek = { to: seekTo, at: await inVideo(video => video.currentTime) };
  expect(Math.abs(out.seek.at - seekTo) < 5, `the seek to ${seekTo} ended at ${out.seek.at}`);
  await playsOn('after the seek');
  out.contrast_after_seek = await picture('seek');
  expect(out.contrast_after_seek > FLAT, `the picture after the seek is flat (${out.contrast_after_seek})`);

  // Seek back, so that a short film does not end while tracks are switched.
  await inVideo(video => { video.currentTime = 0; return video.play(); });
  if (out.start.audio.length > 1) {
    const other = await inVideo(video => (video.hls.audioTrack + 1) % video.hls.audioTracks.length);
    await page.selectOption('#audio', String(other));
    await waitFor('the other audio track', at => document.querySelector('#video').hls.audioTrack === at, other);
    await playsOn('after the audio switch');
    out.audio = await inVideo(video => video.hls.audioTracks[video.hls.audioTrack].name);
  }
  out.cues = [];
  for (let at = 0; at < out.start.subtitles.length; at += 1) {
    await page.selectOption('#subtitles', String(at));
    const listed = await waitFor(`cues of subtitle ${at}`, () => [...document.querySelector('#video').textTracks]
      .some(track => track.mode === 'showing' && track.cues?.length > 0));
    if (!listed) continue;
    out.cues.push(await inVideo(video => {
      const track = [...video.textTracks].find(track => track.mode === 'showing');
      const cue = track.cues[0];
      return { label: track.label, language: track.language, count: track.cues.length, first: [cue.startTime, cue.endTime, cue.text] };
    }));
  }
  if (await page.locator('#scrub').isVisible()) {
    await page.locator('#scrub').hover({ position: { x: 600, y: 5 } });
    await page.locator('#preview').waitFor();
    out.preview = await page.locator('#preview').evaluate(async shown => {
      const style = getComputedStyle(shown);
      const sheet = new Image();
      sheet.src = style.backgroundImage.slice(5, -2);
      await sheet.decode();
      return { time: shown.textContent, place: style.backgroundPosition, width: shown.clientWidth, height: shown.clientHeight, sheet: [sheet.naturalWidth, sheet.naturalHeight] };
    });
    if (shots) await page.screenshot({ path: join(shots, 'preview.png') });
  }
  if (out.start.chapters.length > 1) {
    await page.selectOption('#chapters', String(out.start.chapters.length - 1));
    await playsOn('after the chapter was chosen');
    out.chapter = await inVideo(video => video.currentTime);
  }
  await inVideo(video => { video.currentTime = 1; return video.play(); });
  await playsOn('at the end');
  if (shots) await page.screenshot({ path: join(shots, 'playing.png') });
  out.faults = await inVideo(video => video.faults ?? []);
  out.frames = await inVideo(video => {
    const quality = video.getVideoPlaybackQuality();
    return { total: quality.totalVideoFrames, dropped: quality.droppedVideoFrames, corrupted: quality.corruptedVideoFrames };
  });
  out.buffered = await inVideo(video => [...Array(video.buffered.length)].map((_, at) => [video.buffered.start(at), video.buffered.end(at)]));
  const fatal = out.faults.filter(fault => fault.fatal);
  expect(fatal.length === 0, `fatal errors: ${JSON.stringify(fatal)}`);
  expect((out.frames.corrupted ?? 0) === 0, `${out.frames.corrupted} frames are corrupted`);
  if (shots) {
    await page.setViewportSize({ width: 390, height: 844 });
    await page.locator('summary').first().click();
    await page.screenshot({ path: join(shots, 'phone.png') });
  }
  const wide = await page.evaluate(() => document.documentElement.scrollWidth > innerWidth);
  expect(!wide, 'the page is wider than the screen');
} catch (error) {
  problems.push(String(error).slice(0, 400));
} finally {
  await context.close();
  rmSync(profile, { recursive: true, force: true });
}
expect(said.length === 0, `the console says: ${said.slice(0, 5).join(' | ')}`);
out.problems = problems;
console.log(JSON.stringify(out, null, 1));
process.exit(problems.length === 0 ? 0 : 1);
