//! More kinds of films for the players: older containers and codecs, shapes of pictures, sound, texts.

use crate::sources::{Made, Says, Source, made, other};

const fn without_views(name: &'static str, what: &'static str, arguments: &'static str) -> Source {
    let says = Says::NoViews("MP4 cannot carry");
    other(name, what, Made::Ffmpeg(arguments), says)
}

const NO_SOUND_IN_TRANSPORT: Says =
    Says::Notes("it has no MPEG-TS form: MPEG-TS carries none of its sound");

/// Films in dependency order, behind those of [`crate::sources::SOURCES`].
pub const KINDS: &[Source] = &[
    made(
        "high10.mkv",
        "H.264 of 10 bit",
        "$PICTURE $SOUND -pix_fmt yuv420p10le $H264 -c:a aac",
    ),
    made(
        "colours.mkv",
        "H.264 4:2:2",
        "$PICTURE $SOUND -pix_fmt yuv422p $H264 -c:a aac",
    ),
    made(
        "interlaced.mkv",
        "H.264, interlaced",
        "$PICTURE $SOUND $H264 -flags +ildct+ilme -x264-params tff=1 -c:a aac",
    ),
    made(
        "intra.mkv",
        "H.264, key frames alone",
        "$PICTURE $SOUND $H264 -g 1 -bf 0 -c:a aac",
    ),
    made(
        "film-rate.mkv",
        "23.976 pictures a second",
        "-f lavfi -i testsrc2=s=320x180:r=24000/1001:d=10,noise=alls=12:allf=t:all_seed=1 $SOUND $H264 -c:a aac",
    ),
    made(
        "sixty.mp4",
        "59.94 pictures a second",
        "-f lavfi -i testsrc2=s=320x180:r=60000/1001:d=10,noise=alls=12:allf=t:all_seed=1 $SOUND $H264 -g 120 -c:a aac",
    ),
    made(
        "wide.mp4",
        "pixels that are not square",
        "$PICTURE $SOUND -vf setsar=4/3 $H264 -c:a aac",
    ),
    made(
        "odd.mkv",
        "a size that is cropped",
        "$PICTURE $SOUND -vf scale=322:182 $H264 -c:a aac",
    ),
    other(
        "turned.mp4",
        "MP4 of a phone, turned",
        Made::Ffmpeg("-i main.mp4 -c copy -metadata:s:v rotate=90"),
        Says::Notes(
            "it has no MPEG-TS form: only its container says how the picture is turned or stretched",
        ),
    ),
    other(
        "hlg.mkv",
        "HEVC HLG + AAC",
        Made::Ffmpeg(
            "$PICTURE $SOUND $HEVC -x265-params log-level=error:keyint=50:repeat-headers=1:colorprim=bt2020:transfer=arib-std-b67:colormatrix=bt2020nc -color_primaries bt2020 -color_trc arib-std-b67 -colorspace bt2020nc -c:a aac",
        ),
        Says::Has(&["VIDEO-RANGE=HLG"]),
    ),
    made(
        "hevc.mp4",
        "HEVC HLG + AAC, MP4",
        "-i hlg.mkv -c copy -tag:v hvc1",
    ),
    made("hevc.ts", "HEVC + AC-3, MPEG-TS", "-i ten-bit.mkv -c copy"),
    made(
        "vp9.mkv",
        "VP9 + Vorbis, Matroska",
        "-i vp9.webm -c:v copy -c:a libvorbis",
    ),
    made(
        "av1.mp4",
        "AV1 of 10 bit + Opus, MP4",
        "$PICTURE $SOUND -pix_fmt yuv420p10le -c:v libsvtav1 -preset 12 -g 50 -b:v 500k -c:a libopus",
    ),
    made(
        "late-picture.mkv",
        "picture starts 1.5 s late",
        "$SOUND -itsoffset 1.5 $PICTURE $H264 -c:a aac",
    ),
    made(
        "shifted.mp4",
        "MP4, negative composition times",
        "-i main.mkv -c copy -movflags +negative_cts_offsets",
    ),
    made(
        "live.mkv",
        "Matroska of unknown size, no index",
        "-i main.mkv -c copy -live 1",
    ),
    made(
        "wrap.ts",
        "MPEG-TS, times wrap around",
        "-i main.mkv -c copy -output_ts_offset 95438",
    ),
    made(
        "latm.ts",
        "H.264 + AAC (LATM), MPEG-TS",
        "-i main.mkv -c copy -mpegts_flags latm",
    ),
    made(
        "sounds.ts",
        "H.264 + MP2, E-AC-3, MPEG-TS",
        "-i main.mkv -map 0:v -map 0:a -map 0:a -c:v copy -c:a:0 mp2 -c:a:1 eac3",
    ),
    made(
        "dvd.vob",
        "MPEG-2 4:3 + AC-3, PS",
        "$PICTURE $SOUND -vf scale=352:288,setdar=4/3 -c:v mpeg2video -b:v 2M -bf 2 -g 12 -c:a ac3 -f vob",
    ),
    made("web.flv", "H.264 + AAC, FLV", "-i main.mkv -c copy"),
    made("phone.3gp", "H.264 + AAC, 3GP", "-i main.mkv -c copy"),
    made(
        "camera.mxf",
        "MPEG-2 + PCM, MXF",
        "$PICTURE $SOUND -c:v mpeg2video -b:v 2M -g 12 -c:a pcm_s16le",
    ),
    other(
        "timecode.mov",
        "MOV with a time code",
        Made::Ffmpeg("-i main.mkv -c copy -timecode 01:00:00:00"),
        Says::Notes("in the file only: data in stream 2 (tmcd)"),
    ),
    made(
        "languages.mkv",
        "three languages and a commentary",
        "-i main.mkv -map 0:v -map 0:a -map 0:a -map 0:a -map 0:a -c copy -metadata:s:a:0 language=ger -metadata:s:a:1 language=eng -metadata:s:a:2 language=jpn -metadata:s:a:3 language=eng -disposition:a:3 comment",
    ),
    other(
        "texts.mkv",
        "with SRT, ASS and chapters",
        Made::Ffmpeg(
            "-i main.mkv -i words.srt -i chapters.txt -map 0 -map 1 -map 1 -map_chapters 2 -c copy -c:s:0 srt -c:s:1 ass -metadata:s:s:0 language=ger -metadata:s:s:1 language=eng",
        ),
        Says::Has(&["TYPE=SUBTITLES", "LANGUAGE=\"de\"", "LANGUAGE=\"en\""]),
    ),
    other(
        "texts.mp4",
        "MP4 with text of its own form",
        Made::Ffmpeg("-i main.mkv -i words.srt -map 0 -map 1 -c copy -c:s mov_text"),
        Says::Has(&["TYPE=SUBTITLES"]),
    ),
    made(
        "surround.mkv",
        "H.264 + AAC 5.1, E-AC-3 5.1",
        "-i main.mkv -map 0:v -map 0:a -map 0:a -c:v copy -ac 6 -c:a:0 aac -c:a:1 eac3",
    ),
    made(
        "mono.mkv",
        "H.264 + MP3, mono, 22.05 kHz",
        "-i main.mkv -c:v copy -ac 1 -ar 22050 -c:a mp3",
    ),
    other(
        "fine.mkv",
        "H.264 + FLAC, 24 bit, 96 kHz",
        Made::Ffmpeg("-i main.mkv -c:v copy -ar 96000 -sample_fmt s32 -c:a flac"),
        NO_SOUND_IN_TRANSPORT,
    ),
    made(
        "alac.mp4",
        "H.264 + ALAC, MP4",
        "-i main.mkv -c:v copy -c:a alac",
    ),
    other(
        "opus.mp4",
        "H.264 + Opus, MP4",
        Made::Ffmpeg("-i main.mkv -c:v copy -c:a libopus"),
        NO_SOUND_IN_TRANSPORT,
    ),
    made("silent.mkv", "no sound", "-i main.mkv -an -c copy"),
    made("song.flac", "FLAC alone", "$SOUND -c:a flac"),
    made("song.mp3", "MP3 alone", "$SOUND -c:a mp3"),
    made("song.ogg", "Opus alone, Ogg", "$SOUND -c:a libopus"),
    made("song.wav", "PCM alone, WAV", "$SOUND -c:a pcm_s16le"),
    without_views(
        "vp8.webm",
        "VP8 + Vorbis, WebM",
        "$PICTURE $SOUND -c:v libvpx -deadline realtime -cpu-used 8 -b:v 500k -g 50 -c:a libvorbis",
    ),
    without_views(
        "theora.ogv",
        "Theora + Vorbis, Ogg",
        "$PICTURE $SOUND -c:v libtheora -q:v 5 -g 50 -c:a libvorbis",
    ),
    without_views(
        "old.wmv",
        "WMV 8 + WMA, ASF",
        "$PICTURE $SOUND -c:v wmv2 -b:v 500k -g 50 -c:a wmav2",
    ),
    without_views(
        "camera.avi",
        "MJPEG + PCM, AVI",
        "$PICTURE $SOUND -pix_fmt yuvj420p -c:v mjpeg -q:v 5 -c:a pcm_s16le",
    ),
    without_views(
        "studio.mov",
        "ProRes + PCM, MOV",
        "$PICTURE $SOUND -c:v prores -c:a pcm_s16le",
    ),
];

/// Returns true for a film of [`KINDS`]. Slow players get its file alone, or nothing: these films differ from
/// [`crate::sources::SOURCES`] by file more than by playlist.
pub fn contains(film: &str) -> bool {
    KINDS.iter().any(|source| source.name == film)
}
