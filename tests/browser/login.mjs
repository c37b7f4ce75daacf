// TOKEN=… node tests/browser/login.mjs PAGE_URL LINK
//
// Signs in and out on the page of a running daemon in headless Chromium: by a link, and with the token.
// Prints what went wrong and exits with status 1 on any fault.
import { mkdtempSync, rmSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const { chromium } = createRequire(new URL('../../ui/package.json', import.meta.url))('playwright-core');

const [pageUrl, link] = process.argv.slice(2);
const profile = mkdtempSync(join(tmpdir(), 'tgfs-browser-'));
const context = await chromium.launchPersistentContext(profile, {
  executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
  headless: true,
  args: ['--no-sandbox', '--disable-gpu', '--no-first-run', '--disable-background-networking', '--disable-component-update'],
});
const problems = [];
const expect = (holds, what) => { if (!holds) problems.push(what); };
const page = context.pages()[0] ?? await context.newPage();
page.setDefaultTimeout(60_000);
page.on('pageerror', error => problems.push(`exception: ${error.message}`));

try {
  await page.goto(pageUrl);
  await page.locator('#unlock').waitFor();
  expect((await page.locator('#unlock').innerText()).includes('tgfs login-link'), 'the page does not say how to sign in');
  expect(await page.locator('.file').count() === 0, 'files are shown to a stranger');

  await page.goto(link);
  await page.locator('.file').first().waitFor();
  expect(page.url() === pageUrl, `the link led to ${page.url()}`);
  const cookies = await context.cookies();
  expect(cookies.length === 1 && cookies[0].httpOnly && cookies[0].sameSite === 'Strict', JSON.stringify(cookies));
  expect(await page.evaluate(() => document.cookie) === '', 'scripts can read the cookie');

  const answer = page.waitForResponse(response => response.request().method() === 'POST');
  await page.goto(link);
  expect((await answer).status() === 401, 'the link works twice');

  await page.goto(pageUrl);
  await page.locator('#sign-out').click();
  await page.locator('#unlock').waitFor();
  expect((await context.cookies()).length === 0, 'the cookie is still there');

  await page.fill('#token', 'this-is-not-the-token');
  await page.locator('#unlock button').click();
  await page.waitForFunction(() => document.querySelector('#unlock-error').textContent.includes('not the token'));
  await page.fill('#token', process.env.TOKEN);
  await page.locator('#unlock button').click();
  await page.locator('.file').first().waitFor();
} catch (error) {
  problems.push(String(error));
} finally {
  await context.close();
  rmSync(profile, { recursive: true, force: true });
}
for (const problem of problems) console.error(problem);
process.exit(problems.length > 0 ? 1 : 0);
