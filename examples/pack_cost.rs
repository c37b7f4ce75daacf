//! Measures the CPU time of packs, plain and encrypted: the figures of docs/adr/0005. `pack_cost [MIB]`

use std::io::Write;
use std::sync::Arc;

use nix::sys::resource::{UsageWho, getrusage};
use tgfs::model::{BlockIndex, LibraryId};
use tgfs::remote::retry::Deadline;
use tgfs::remote::{
    KdfCost, KnownKey, LibraryMark, LocalRemote, PackInput, Passphrases, SealedPack, fetch_block,
    fetch_table, store_pack, unlock,
};

const PACK_BYTES: u64 = 64 << 20;

/// Returns the CPU seconds of this process so far.
fn cpu() -> anyhow::Result<f64> {
    let usage = getrusage(UsageWho::RUSAGE_SELF)?;
    let seconds =
        |time: nix::sys::time::TimeVal| time.tv_sec() as f64 + time.tv_usec() as f64 / 1e6;
    Ok(seconds(usage.user_time()) + seconds(usage.system_time()))
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let mib: u64 = std::env::args()
        .nth(1)
        .map_or(Ok(1024), |text| text.parse())?;
    let place = std::env::temp_dir().join(format!("tgfs-pack-cost-{}", std::process::id()));
    std::fs::create_dir_all(&place)?;
    let film = place.join("film");
    let noise: Vec<u8> = (0..1 << 20).map(|at: u64| ((at * at) >> 3) as u8).collect();
    let mut file = std::fs::File::create(&film)?;
    (0..mib).try_for_each(|_| file.write_all(&noise))?;
    println!("CPU s/GB          seal    send    put+read back    read");
    for passphrase in [None, Some("correct horse")] {
        let local = LocalRemote::open(&place.join("store"))?;
        let before = cpu()?;
        let passphrases = Passphrases::new(passphrase, None);
        let unlocked = unlock(
            Arc::new(local),
            &passphrases,
            KdfCost::STANDARD,
            Deadline::None,
            &KnownKey::Nothing,
        );
        let remote = unlocked.await?.remote;
        let opening = cpu()? - before;
        let mark = LibraryMark {
            id: LibraryId::random(),
            wrap: None,
        };
        remote.create_library(&mark).await?;
        let mut spent = [0.0; 4];
        let mut bytes = 0;
        for offset in (0..mib << 20).step_by(PACK_BYTES as usize) {
            let input = PackInput {
                path: film.clone(),
                offset,
                len: PACK_BYTES.min((mib << 20) - offset),
            };
            let start = cpu()?;
            let pack = SealedPack::seal(vec![input], remote.cipher())?;
            let sealed = cpu()?;
            pack.copy_to(&mut std::io::sink())?;
            let sent = cpu()?;
            let stored = store_pack(&remote, &pack).await?;
            let put = cpu()?;
            let table = fetch_table(&remote, &stored).await?;
            for block in (0..table.block_count()).map(BlockIndex) {
                fetch_block(&remote, &stored, &table, block).await?;
            }
            let read = cpu()?;
            let times = [sealed - start, sent - sealed, put - sent, read - put];
            spent
                .iter_mut()
                .zip(times)
                .for_each(|(sum, time)| *sum += time);
            bytes += pack.data_len();
            remote.delete(&stored).await?;
        }
        let gigabytes = bytes as f64 / 1e9;
        let [seal, send, put, read] = spent.map(|seconds| seconds / gigabytes);
        let name = passphrase.map_or("plain", |_| "encrypted");
        println!(
            "{name:<12}  {seal:>8.2}{send:>8.2}{put:>17.2}{read:>8.2}   opening {opening:.2} s"
        );
        drop(remote);
        std::fs::remove_dir_all(place.join("store"))?;
    }
    std::fs::remove_dir_all(&place)?;
    Ok(())
}
