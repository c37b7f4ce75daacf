//! Minimal FUSE file system, as a yardstick for the mount: one file of bytes in memory, `film.bin`, in one
//! directory, read-only, answered on the event loops themselves. Any higher cost of a tgfs mount is caused by
//! tgfs. `scripts/bench mount` runs it.
//! `toy_fuse MOUNTPOINT BYTES [BACKING]`; with a backing file the kernel reads directly from that file
//! (FUSE passthrough; as root).
#![allow(clippy::unwrap_used)] // A failed step ends the measurement.

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::sync::Mutex;
use std::time::{Duration, SystemTime};

use fuser::{
    BackingId, Config, Errno, FileAttr, FileHandle, FileType, Filesystem, FopenFlags, Generation,
    INodeNo, InitFlags, KernelConfig, LockOwner, MountOption, OpenFlags, ReplyAttr, ReplyData,
    ReplyDirectory, ReplyEntry, ReplyOpen, Request,
};

const NAME: &str = "film.bin";
const ROOT: INodeNo = INodeNo(1);
const FILM: INodeNo = INodeNo(2);
const TTL: Duration = Duration::from_secs(60);
/// Number of event loops; tgfs has as many.
const EVENT_LOOPS: usize = 4;
const MAX_BACKGROUND_REQUESTS: u16 = 64;
/// Number of file systems below a file system that the kernel reads through.
const STACK_DEPTH: u32 = 2;

struct Toy {
    film: Vec<u8>,
    backing: Option<File>,
    /// Backing id of all opens: the kernel requires the same one for each open of an inode.
    shared: Mutex<Option<BackingId>>,
}

impl Toy {
    fn attr(&self, number: INodeNo) -> Option<FileAttr> {
        let (kind, size, perm) = match number {
            ROOT => (FileType::Directory, 4096, 0o755),
            FILM => (FileType::RegularFile, self.film.len() as u64, 0o444),
            _ => return None,
        };
        let time = SystemTime::UNIX_EPOCH;
        Some(FileAttr {
            ino: number,
            size,
            blocks: size.div_ceil(512),
            atime: time,
            mtime: time,
            ctime: time,
            crtime: time,
            kind,
            perm,
            nlink: 1,
            uid: 0,
            gid: 0,
            rdev: 0,
            blksize: 4096,
            flags: 0,
        })
    }
}

impl Filesystem for Toy {
    fn init(&mut self, _request: &Request, config: &mut KernelConfig) -> io::Result<()> {
        let _ = config.set_max_background(MAX_BACKGROUND_REQUESTS);
        if self.backing.is_some() {
            config
                .add_capabilities(InitFlags::FUSE_PASSTHROUGH)
                .unwrap();
            config.set_max_stack_depth(STACK_DEPTH).unwrap();
        }
        Ok(())
    }

    fn lookup(&self, _request: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        match self.attr(FILM) {
            Some(attr) if parent == ROOT && name == NAME => {
                reply.entry(&TTL, &attr, Generation(0));
            }
            _ => reply.error(Errno::ENOENT),
        }
    }

    fn getattr(
        &self,
        _request: &Request,
        number: INodeNo,
        _open: Option<FileHandle>,
        reply: ReplyAttr,
    ) {
        match self.attr(number) {
            Some(attr) => reply.attr(&TTL, &attr),
            None => reply.error(Errno::ENOENT),
        }
    }

    fn open(&self, _request: &Request, _number: INodeNo, _flags: OpenFlags, reply: ReplyOpen) {
        let Some(backing) = &self.backing else {
            return reply.opened(FileHandle(1), FopenFlags::FOPEN_KEEP_CACHE);
        };
        let mut shared = self.shared.lock().unwrap();
        if shared.is_none() {
            *shared = Some(reply.open_backing(backing.as_fd()).unwrap());
        }
        if let Some(id) = &*shared {
            reply.opened_passthrough(FileHandle(1), FopenFlags::empty(), id);
        }
    }

    fn read(
        &self,
        _request: &Request,
        _number: INodeNo,
        _open: FileHandle,
        offset: u64,
        size: u32,
        _flags: OpenFlags,
        _lock_owner: Option<LockOwner>,
        reply: ReplyData,
    ) {
        let from = usize::try_from(offset).unwrap().min(self.film.len());
        let end = (from + size as usize).min(self.film.len());
        reply.data(&self.film[from..end]);
    }

    fn readdir(
        &self,
        _request: &Request,
        _number: INodeNo,
        _open: FileHandle,
        offset: u64,
        mut reply: ReplyDirectory,
    ) {
        if offset == 0 {
            let _ = reply.add(FILM, 1, FileType::RegularFile, NAME);
        }
        reply.ok();
    }
}

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let (mountpoint, size) = (&arguments[1], arguments[2].parse::<usize>().unwrap());
    // The bytes are not zeros, because all pages that were never written share one page.
    let film = (0..size)
        .map(|at| (at as u32).wrapping_mul(2_654_435_761).to_be_bytes()[0])
        .collect();
    let toy = Toy {
        film,
        backing: arguments.get(3).map(|path| File::open(path).unwrap()),
        shared: Mutex::default(),
    };
    let mut config = Config::default();
    config.mount_options = vec![
        MountOption::FSName("toy_fuse".to_owned()),
        MountOption::RO,
        MountOption::DefaultPermissions,
    ];
    config.n_threads = Some(EVENT_LOOPS);
    config.clone_fd = true;
    fuser::mount(toy, mountpoint, &config).unwrap();
}
