// node tests/browser/playlists.mjs MASTER_URL
//
// Reads a multivariant playlist and all media playlists that it refers to with hls-parser in strict mode,
// which refuses what RFC 8216 forbids. Prints one line for each playlist, and exits with status 1 if one
// is refused.
import { createRequire } from 'node:module';

const HLS = createRequire(new URL('../../ui/package.json', import.meta.url))('hls-parser');
HLS.setOptions({ strictMode: true });

const master = process.argv[2];
if (!master) {
  console.error('usage: playlists.mjs MASTER_URL');
  process.exit(2);
}
let refused = 0;
const read = async url => {
  const text = await (await fetch(url)).text();
  try {
    const playlist = HLS.parse(text);
    console.log(`${new URL(url).pathname}: ${playlist.isMasterPlaylist ? `${playlist.variants.length} variants` : `${playlist.segments.length} segments`}`);
    return playlist;
  } catch (error) {
    console.log(`${new URL(url).pathname}: ${error.message}\n${text.slice(0, 1000)}`);
    refused += 1;
    return undefined;
  }
};
const top = await read(master);
const named = new Set();
for (const variant of top?.variants ?? []) {
  named.add(variant.uri);
  for (const rendition of [...variant.audio, ...variant.subtitles]) {
    if (rendition.uri) named.add(rendition.uri);
  }
}
if (named.size === 0) refused += 1;
for (const uri of named) await read(new URL(uri, master).href);
process.exit(refused === 0 ? 0 : 1);
