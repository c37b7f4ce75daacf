// Opens a page in a browser without a window. Pages have `add(path)`, which runs a script in the page, and
// `evaluate(function, argument)`, which calls an asynchronous function there and returns its result.
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { openFirefox } from './firefox.mjs';

const openChromium = async url => {
  const { chromium } = createRequire(new URL('../../ui/package.json', import.meta.url))('playwright-core');
  const profile = mkdtempSync(join(tmpdir(), 'tgfs-browser-'));
  const context = await chromium.launchPersistentContext(profile, {
    executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
    headless: true,
    bypassCSP: true,
    args: ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
      '--disable-component-update', '--disable-sync', '--autoplay-policy=no-user-gesture-required', '--mute-audio'],
  });
  const page = context.pages()[0] ?? await context.newPage();
  await page.goto(url);
  return {
    add: path => page.addScriptTag({ path }),
    evaluate: (what, argument) => page.evaluate(what, argument),
    close: async () => {
      await context.close();
      rmSync(profile, { recursive: true, force: true });
    },
  };
};

const browsers = {
  Chromium: openChromium,
  Firefox: async url => {
    const firefox = await openFirefox(url);
    return { ...firefox, add: path => firefox.run(readFileSync(path, 'utf8')) };
  },
};

/** Opens `url` in `browser` for as long as `use(page)` takes. */
export const withPage = async (browser, url, use) => {
  const page = await browsers[browser](url);
  try {
    return await use(page);
  } finally {
    await page.close();
  }
};
