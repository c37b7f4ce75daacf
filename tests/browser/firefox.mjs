// Firefox without a window, driven by its own remote protocol (Marionette): Playwright drives only a Firefox of its own.
import { spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** Milliseconds until the browser must listen. */
const START = 60_000;
/** Nothing listens here: whatever is not on this machine is refused at once. */
const NOWHERE = 9;

/** Sound is decoded and dropped: machines of tests have no device, and Firefox stops films of sound alone then. */
const SOUND = 'pcm.!default { type null }\nctl.!default { type null }\n';

const settings = {
  'marionette.port': 0,
  'media.autoplay.default': 0,
  'media.cubeb.backend': 'alsa',
  'media.volume_scale': '0.0',
  'network.proxy.type': 1,
  'network.proxy.http': '127.0.0.1',
  'network.proxy.http_port': NOWHERE,
  'network.proxy.ssl': '127.0.0.1',
  'network.proxy.ssl_port': NOWHERE,
  'network.proxy.no_proxies_on': '127.0.0.1',
  'network.captive-portal-service.enabled': false,
  'network.connectivity-service.enabled': false,
  'network.dns.disablePrefetch': true,
  'network.trr.mode': 5,
  'services.settings.server': `http://127.0.0.1:${NOWHERE}/`,
  'app.normandy.enabled': false,
  'app.update.enabled': false,
  'browser.region.network.url': '',
  'browser.safebrowsing.malware.enabled': false,
  'browser.safebrowsing.phishing.enabled': false,
  'browser.search.update': false,
  'datareporting.healthreport.uploadEnabled': false,
  'datareporting.policy.dataSubmissionEnabled': false,
  'dom.push.connection.enabled': false,
  'extensions.update.enabled': false,
  'extensions.systemAddon.update.enabled': false,
  'media.gmp-manager.updateEnabled': false,
  'toolkit.telemetry.enabled': false,
  'toolkit.telemetry.unified': false,
};

/** Messages are `LENGTH:[0, id, command, parameters]`, answers `LENGTH:[1, id, error, result]`. */
const session = socket => {
  const waiting = new Map();
  let rest = Buffer.alloc(0);
  let last = 0;
  socket.on('data', data => {
    rest = Buffer.concat([rest, data]);
    for (let colon = rest.indexOf(58); colon > 0; colon = rest.indexOf(58)) {
      const end = colon + 1 + Number(rest.subarray(0, colon));
      if (rest.length < end) return;
      const message = JSON.parse(rest.subarray(colon + 1, end));
      rest = rest.subarray(end);
      if (!Array.isArray(message)) continue;
      const [, id, error, result] = message;
      const { resolve, reject } = waiting.get(id);
      waiting.delete(id);
      if (error) reject(new Error(`${error.error}: ${error.message}`));
      else resolve(result);
    }
  });
  socket.on('close', () => waiting.forEach(({ reject }) => reject(new Error('Firefox is gone'))));
  return (command, parameters = {}) => new Promise((resolve, reject) => {
    last += 1;
    waiting.set(last, { resolve, reject });
    const text = Buffer.from(JSON.stringify([0, last, command, parameters]));
    socket.write(Buffer.concat([Buffer.from(`${text.length}:`), text]));
  });
};

const listening = async (profile, child) => {
  const end = Date.now() + START;
  while (Date.now() < end && child.exitCode === null) {
    try {
      return Number(readFileSync(join(profile, 'MarionetteActivePort'), 'utf8'));
    } catch {
      await new Promise(done => setTimeout(done, 100));
    }
  }
  throw new Error('Firefox does not start');
};

/** Opens `url` and returns a page: `run(source)` runs a script in it, `evaluate(function, argument)` calls a function. */
export const openFirefox = async url => {
  const profile = mkdtempSync(join(tmpdir(), 'tgfs-browser-'));
  const lines = Object.entries(settings).map(([name, value]) => `user_pref(${JSON.stringify(name)}, ${JSON.stringify(value)});\n`);
  writeFileSync(join(profile, 'user.js'), lines.join(''));
  const sound = join(profile, 'asound.conf');
  writeFileSync(sound, SOUND);
  const program = process.env.FIREFOX ?? 'firefox-esr';
  const child = spawn(program, ['--headless', '--no-remote', '--marionette', '--profile', profile], { env: { ...process.env, ALSA_CONFIG_PATH: sound }, stdio: 'ignore' });
  const ended = new Promise(done => { child.on('exit', done); child.on('error', done); });
  const close = async () => {
    child.kill();
    await ended;
    rmSync(profile, { recursive: true, force: true });
  };
  try {
    const socket = connect(await listening(profile, child), '127.0.0.1');
    const send = session(socket);
    await send('WebDriver:NewSession', {});
    await send('WebDriver:SetTimeouts', { script: 600_000 });
    await send('WebDriver:Navigate', { url });
    // All scripts share one sandbox above the page: its policy for scripts does not hold there.
    const call = (script, args) => send('WebDriver:ExecuteAsyncScript', { script, args, newSandbox: false });
    return {
      run: source => send('WebDriver:ExecuteScript', { script: source, args: [], newSandbox: false }),
      evaluate: async (what, argument) => {
        const script = `const done = arguments[1];
          (${what})(arguments[0]).then(value => done({ value }), error => done({ error: String(error) }));`;
        const { value } = await call(script, [argument]);
        if (value.error) throw new Error(value.error);
        return value.value;
      },
      close,
    };
  } catch (error) {
    await close();
    throw error;
  }
};
