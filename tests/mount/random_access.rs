//! Tests of random reads and writes, compared with the same operations on plain memory.

use std::fs;
use std::os::unix::fs::FileExt;

use crate::harness::TestMount;
use crate::material::{Random, need, noise};

/// Length of the file: enough for several blocks of the reading path (512 KiB) and of the kernel.
const FILE_BYTES: u64 = 3 * 1024 * 1024 + 777;
const STEPS: usize = 400;

#[test]
fn random_writes_read_back() {
    let mut test = TestMount::new();
    let path = test.path.join("f");
    let mut model: Vec<u8> = Vec::new();
    let mut random = Random(42);
    let mut file = fs::File::options()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(&path)
        .unwrap();
    for step in 0..STEPS {
        change(&file, &mut model, &mut random);
        check(&file, &model, &mut random);
        if step % 50 == 49 {
            // Closing commits a version. Later writes are an overlay on it.
            drop(file);
            if step % 100 == 99 {
                test.restart();
            }
            assert!(fs::read(&path).unwrap() == model, "after step {step}");
            file = fs::File::options()
                .read(true)
                .write(true)
                .open(&path)
                .unwrap();
        }
    }
}

fn change(file: &fs::File, model: &mut Vec<u8>, random: &mut Random) {
    match random.below(10) {
        0 => {
            let size = random.below(FILE_BYTES);
            file.set_len(size).unwrap();
            model.resize(usize::try_from(size).unwrap(), 0);
        }
        _ => {
            let offset = usize::try_from(random.below(FILE_BYTES)).unwrap();
            let longest = if random.below(4) == 0 { 700_000 } else { 9000 };
            let data = noise(
                usize::try_from(1 + random.below(longest)).unwrap(),
                random.next(),
            );
            file.write_all_at(&data, offset as u64).unwrap();
            if model.len() < offset + data.len() {
                model.resize(offset + data.len(), 0);
            }
            model[offset..offset + data.len()].copy_from_slice(&data);
        }
    }
}

fn check(file: &fs::File, model: &[u8], random: &mut Random) {
    let offset = random.below(FILE_BYTES + 10_000);
    let mut buffer = vec![0xaa; usize::try_from(1 + random.below(300_000)).unwrap()];
    let mut got = 0;
    while got < buffer.len() {
        match file
            .read_at(&mut buffer[got..], offset + got as u64)
            .unwrap()
        {
            0 => break,
            more => got += more,
        }
    }
    let start = usize::try_from(offset).unwrap().min(model.len());
    let end = (start + buffer.len()).min(model.len());
    assert_eq!(got, end - start, "length of a read at {offset}");
    assert!(
        buffer[..got] == model[start..end],
        "bytes of a read at {offset}"
    );
    assert_eq!(file.metadata().unwrap().len(), model.len() as u64);
}

#[test]
fn mapped_and_scattered_reads_equal_the_source() {
    need("python3", "python3");
    let test = TestMount::new();
    test.source("big", usize::try_from(FILE_BYTES).unwrap(), 5);
    test.run(
        r#"cp "$OUT/big" big
python3 -c "
import mmap, os, random
a = open(os.environ['OUT'] + '/big', 'rb').read()
f = open('big', 'rb'); m = mmap.mmap(f.fileno(), 0, prot=mmap.PROT_READ)
assert m[:] == a
r = random.Random(1)
for _ in range(500):
    o = r.randrange(len(a) + 100); n = r.randrange(200000)
    assert os.pread(f.fileno(), n, o) == a[o:o+n], (o, n)
o = open('copy', 'wb'); s = 0
while (n := os.sendfile(o.fileno(), f.fileno(), s, 1 << 20)): s += n
o.close(); assert open('copy', 'rb').read() == a
"
"#,
    );
}

#[test]
fn a_shared_writable_mapping_is_written_back() {
    need("python3", "python3");
    let test = TestMount::new();
    test.run(
        r#"python3 -c "
import mmap
with open('f', 'wb') as f: f.write(bytes(100000))
with open('f', 'r+b') as f:
    m = mmap.mmap(f.fileno(), 0); m[5000:5005] = b'hello'; m.flush(); m.close()
d = open('f', 'rb').read(); assert d[5000:5005] == b'hello' and len(d) == 100000 and sum(d) == sum(b'hello')
"
"#,
    );
}

#[test]
fn holes_are_found() {
    need("python3", "python3");
    let test = TestMount::new();
    test.run(
        r#"python3 -c "
import os
f = os.open('f', os.O_RDWR | os.O_CREAT); os.pwrite(f, b'x' * 4096, 1 << 20); os.ftruncate(f, 2 << 20)
d = os.lseek(f, 0, os.SEEK_DATA); assert d <= 1 << 20, d
h = os.lseek(f, 1 << 20, os.SEEK_HOLE); assert h >= (1 << 20) + 4096, h
try: os.lseek(f, 2 << 20, os.SEEK_DATA)
except OSError as e: assert e.errno == 6, e
else: raise AssertionError('no error behind the end')
"
"#,
    );
}
