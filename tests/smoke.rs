use std::time::Duration;
use tgfs::fuse::*;
use tgfs::vfs::Vfs;
fn cfg() -> MountConfig {
    MountConfig {
        access: MountAccess::Owner,
        mode: MountMode::ReadWrite,
        deadlines: Deadlines::default(),
        private: vec![],
    }
}
#[tokio::test(flavor = "multi_thread")]
async fn life() {
    let d = tempfile::tempdir().unwrap();
    let mp = d.path().join("m p");
    let mut m = mount(Vfs {}, &mp, &cfg(), &tokio::runtime::Handle::current()).unwrap();
    let mp2 = mp.clone();
    let e = tokio::task::spawn_blocking(move || std::fs::read_dir(&mp2).map(|d| d.count()))
        .await
        .unwrap();
    println!("{e:?}");
    println!(
        "{}",
        std::fs::read_to_string("/proc/self/mountinfo")
            .unwrap()
            .lines()
            .filter(|l| l.contains("tgfs"))
            .collect::<Vec<_>>()
            .join("\n")
    );
    let again = mount(Vfs {}, &mp, &cfg(), &tokio::runtime::Handle::current());
    println!("{:?}", again.unwrap_err().to_string());
    let f = std::process::Command::new("umount")
        .arg("-l")
        .arg(&mp)
        .status()
        .unwrap();
    assert!(f.success());
    tokio::time::timeout(Duration::from_secs(5), m.ended())
        .await
        .unwrap();
    let m2 = mount(Vfs {}, &mp, &cfg(), &tokio::runtime::Handle::current()).unwrap();
    drop(m);
    assert!(is_tgfs_mount(&mp).unwrap());
    println!("{:?}", m2.unmount(Duration::from_secs(5)).await);
    assert!(!is_tgfs_mount(&mp).unwrap());
}
