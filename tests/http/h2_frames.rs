//! Frames of HTTP/2 as bytes (RFC 9113), for clients that no library would be.

const SETTINGS: u8 = 4;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const END_STREAM_AND_HEADERS: u8 = 0x5;
const INITIAL_WINDOW_SIZE: u16 = 4;
const CANCEL: u32 = 8;

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut bytes = length[1..].to_vec();
    bytes.extend([kind, flags]);
    bytes.extend(stream.to_be_bytes());
    bytes.extend(payload);
    bytes
}

/// Returns the client's preface, with the window of each stream.
pub fn preface_with_window(bytes: u32) -> Vec<u8> {
    let mut all = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    let mut setting = INITIAL_WINDOW_SIZE.to_be_bytes().to_vec();
    setting.extend(bytes.to_be_bytes());
    all.extend(frame(SETTINGS, 0, 0, &setting));
    all
}

/// Returns the header block of a GET (RFC 7541, literals that are not indexed).
pub fn request(path: &str, authority: &str, fields: &[(&str, &str)]) -> Vec<u8> {
    let mut block = Vec::new();
    let own = [
        (":method", "GET"),
        (":scheme", "http"),
        (":path", path),
        (":authority", authority),
    ];
    for (name, value) in own.iter().chain(fields) {
        block.push(0);
        for text in [name, value] {
            // A length below 127 takes one byte.
            block.push(
                u8::try_from(text.len())
                    .ok()
                    .filter(|len| *len < 127)
                    .unwrap(),
            );
            block.extend(text.as_bytes());
        }
    }
    block
}

/// Returns the frame that sends a request.
pub fn headers(stream: u32, block: &[u8]) -> Vec<u8> {
    frame(HEADERS, END_STREAM_AND_HEADERS, stream, block)
}

/// Returns the frame that cancels a request.
pub fn reset(stream: u32) -> Vec<u8> {
    frame(RST_STREAM, 0, stream, &CANCEL.to_be_bytes())
}
