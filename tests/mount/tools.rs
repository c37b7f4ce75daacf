//! Tests of the tools that bring files in, change them and take them out. docs/SEMANTICS.md lists the calls
//! that each sends to the kernel. Each case compares bytes itself; all files are compared again after a
//! restart.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use crate::harness::TestMount;
use crate::material::{need, said};

struct Case {
    name: &'static str,
    /// Tools, each with its Debian package.
    tools: &'static [(&'static str, &'static str)],
    /// Script that runs in an empty directory of the mount. `$OUT/big` has 3 MiB, `$OUT/small` has 10 KiB,
    /// `$OUT/tree` has some directories, and `$OUT/$CASE` is an empty directory outside.
    script: &'static str,
}

const COPYING: &[Case] = &[
    Case {
        name: "cp",
        tools: &[],
        script: r#"cp "$OUT/big" big; cmp "$OUT/big" big
                   cp "$OUT/small" big; cmp "$OUT/small" big"#,
    },
    Case {
        name: "cp -a keeps mode and times",
        tools: &[],
        script: r#"chmod 640 "$OUT/big"; touch -d '2001-02-03 04:05:06.789' "$OUT/big"
                   cp -a "$OUT/big" big; cmp "$OUT/big" big
                   test "$(stat -c '%a %Y' big)" = "$(stat -c '%a %Y' "$OUT/big")""#,
    },
    Case {
        name: "cp -a of a tree",
        tools: &[],
        script: r#"cp -a "$OUT/tree" tree; diff -r "$OUT/tree" tree"#,
    },
    Case {
        name: "cp inside the mount",
        tools: &[],
        script: r#"cp "$OUT/big" one; cp one two; cmp "$OUT/big" two
                   cp "$OUT/small" one; cmp "$OUT/big" two"#,
    },
    Case {
        name: "mv in, within, over, out",
        tools: &[],
        script: r#"cp "$OUT/big" "$OUT/$CASE/gone"; mv "$OUT/$CASE/gone" in; test ! -e "$OUT/$CASE/gone"
                   mv in within; test ! -e in; cmp "$OUT/big" within
                   cp "$OUT/small" other; mv -f within other; cmp "$OUT/big" other
                   mv other "$OUT/$CASE/out"; test ! -e other; cmp "$OUT/big" "$OUT/$CASE/out"
                   cp -a "$OUT/tree" tree; mv tree moved; diff -r "$OUT/tree" moved"#,
    },
    Case {
        name: "mv -n leaves what is there",
        tools: &[],
        script: r#"cp "$OUT/big" a; cp "$OUT/small" b; mv -n a b || true; cmp "$OUT/small" b"#,
    },
    Case {
        name: "install",
        tools: &[],
        script: r#"install -m 600 "$OUT/big" big; cmp "$OUT/big" big; test "$(stat -c %a big)" = 600"#,
    },
    Case {
        name: "rsync -a, again, and an update",
        tools: &[("rsync", "rsync")],
        script: r#"rsync -a "$OUT/tree/" tree/; diff -r "$OUT/tree" tree
                   test -z "$(rsync -ai "$OUT/tree/" tree/ | grep -v '^\.' || true)"
                   rsync -a "$OUT/big" f; cp "$OUT/small" "$OUT/$CASE/f"; rsync -a "$OUT/$CASE/f" f
                   cmp "$OUT/small" f; test -z "$(find . -name '.*.??????')""#,
    },
    Case {
        name: "rsync --inplace and --append-verify",
        tools: &[("rsync", "rsync")],
        script: r#"rsync --inplace "$OUT/big" f; cmp "$OUT/big" f
                   head -c 1000000 "$OUT/big" > part; rsync --append-verify "$OUT/big" part; cmp "$OUT/big" part
                   cp "$OUT/small" f; rsync -t --no-whole-file --inplace "$OUT/big" f; cmp "$OUT/big" f"#,
    },
    Case {
        name: "rsync --remove-source-files",
        tools: &[("rsync", "rsync")],
        script: r#"cp "$OUT/big" "$OUT/$CASE/f"; rsync -a --remove-source-files "$OUT/$CASE/f" f
                   test ! -e "$OUT/$CASE/f"; cmp "$OUT/big" f"#,
    },
    Case {
        name: "python shutil",
        tools: &[("python3", "python3")],
        script: r#"cp "$OUT/big" "$OUT/$CASE/m"
                   python3 -c "
import shutil, os
out = os.environ['OUT']; case = os.path.join(out, os.environ['CASE'])
shutil.copy(out + '/big', 'copy'); shutil.copy2(out + '/big', 'copy2')
shutil.move(case + '/m', 'moved'); shutil.copyfile('copy', 'within')
shutil.copytree(out + '/tree', 'tree')
"
                   for f in copy copy2 moved within; do cmp "$OUT/big" $f; done; diff -r "$OUT/tree" tree
                   test ! -e "$OUT/$CASE/m"; test "$(stat -c %Y copy2)" = "$(stat -c %Y "$OUT/big")""#,
    },
    Case {
        name: "gio copy and move",
        tools: &[("gio", "libglib2.0-bin")],
        script: r#"gio copy "$OUT/big" big; cmp "$OUT/big" big; gio copy "$OUT/small" big; cmp "$OUT/small" big
                   cp "$OUT/big" "$OUT/$CASE/m"; gio move "$OUT/$CASE/m" m; cmp "$OUT/big" m; test ! -e "$OUT/$CASE/m""#,
    },
    Case {
        name: "curl and cat",
        tools: &[("curl", "curl")],
        script: r#"curl -sS -o got "file://$OUT/big"; cmp "$OUT/big" got
                   cat "$OUT/small" "$OUT/big" > both; cat "$OUT/small" "$OUT/big" | cmp - both"#,
    },
    Case {
        name: "tar and unzip",
        tools: &[("tar", "tar"), ("zip", "zip"), ("unzip", "unzip")],
        script: r#"tar -C "$OUT" -cf "$OUT/$CASE/t.tar" tree; tar xf "$OUT/$CASE/t.tar"; diff -r "$OUT/tree" tree
                   (cd "$OUT" && zip -qr "$CASE/t.zip" tree); mkdir z; cd z; unzip -q "$OUT/$CASE/t.zip"; diff -r "$OUT/tree" tree"#,
    },
];

const WRITING: &[Case] = &[
    Case {
        name: "dd",
        tools: &[],
        script: r#"dd if="$OUT/big" of=a bs=1M conv=fsync status=none; cmp "$OUT/big" a
                   dd if="$OUT/big" of=b bs=4k oflag=sync status=none; cmp "$OUT/big" b
                   dd if="$OUT/small" of=a bs=512 seek=3 conv=notrunc status=none
                   cp "$OUT/big" "$OUT/$CASE/a"; dd if="$OUT/small" of="$OUT/$CASE/a" bs=512 seek=3 conv=notrunc status=none
                   cmp "$OUT/$CASE/a" a"#,
    },
    Case {
        name: "redirection and appending",
        tools: &[],
        script: r#"cat "$OUT/small" > f; cat "$OUT/big" >> f; echo end >> f
                   { cat "$OUT/small" "$OUT/big"; echo end; } | cmp - f
                   : > f; test ! -s f; echo again > f; test "$(cat f)" = again"#,
    },
    Case {
        name: "two appenders",
        tools: &[],
        script: r#"(for i in $(seq 200); do echo "a $i"; done >> f) & (for i in $(seq 200); do echo "b $i"; done >> f) & wait
                   test "$(wc -l < f)" = 400; test "$(sort -u f | wc -l)" = 400"#,
    },
    Case {
        name: "touch and times",
        tools: &[],
        script: r#"touch f; test -f f; test ! -s f; touch -d '1999-12-31 23:59:58' f; test "$(stat -c %Y f)" = "$(date -d '1999-12-31 23:59:58' +%s)"
                   touch -d '1960-01-01 00:00:00 UTC' f; test "$(stat -c %Y f)" = -315619200"#,
    },
    Case {
        name: "truncate",
        tools: &[],
        script: r#"cp "$OUT/big" f; truncate -s 1000 f; head -c 1000 "$OUT/big" | cmp - f
                   truncate -s 5000 f; { head -c 1000 "$OUT/big"; head -c 4000 /dev/zero; } | cmp - f
                   truncate -s 0 f; test ! -s f; truncate -s 3M f; head -c 3145728 /dev/zero | cmp - f"#,
    },
    Case {
        name: "fallocate",
        tools: &[("fallocate", "util-linux")],
        script: r#"fallocate -l 1M f; test "$(stat -c %s f)" = 1048576; head -c 1048576 /dev/zero | cmp - f
                   cp "$OUT/big" g; fallocate -p -o 4096 -l 8192 g
                   cp "$OUT/big" "$OUT/$CASE/g"; dd if=/dev/zero of="$OUT/$CASE/g" bs=4096 seek=1 count=2 conv=notrunc status=none
                   cmp "$OUT/$CASE/g" g"#,
    },
    Case {
        name: "sed -i",
        tools: &[],
        script: r#"printf 'one\ntwo\n' > f; sed -i s/two/three/ f; test "$(cat f)" = "$(printf 'one\nthree')"; test "$(ls)" = f"#,
    },
    Case {
        name: "vim",
        tools: &[("vim", "vim")],
        script: r#"printf 'one\n' > f; vim -u NONE -N -es -c 's/one/two/' -c wq f < /dev/null; test "$(cat f)" = two; test "$(ls -A)" = f"#,
    },
    Case {
        name: "sqlite-like locking and rewriting in place",
        tools: &[("python3", "python3")],
        script: r#"python3 -c "
import sqlite3
for n in range(3):
    c = sqlite3.connect('db'); c.execute('create table if not exists t(x)'); c.executemany('insert into t values(?)', [(i,) for i in range(500)]); c.commit(); c.close()
c = sqlite3.connect('db'); assert c.execute('select count(*), sum(x) from t').fetchone() == (1500, 374250); assert c.execute('pragma integrity_check').fetchone()[0] == 'ok'
""#,
    },
    Case {
        name: "flock",
        tools: &[("flock", "util-linux")],
        script: r#"touch lock; flock lock sh -c 'flock -n lock true && exit 1 || exit 0'"#,
    },
    Case {
        name: "git",
        tools: &[("git", "git")],
        script: r#"git init -q .; cp "$OUT/small" f; git add f; git -c user.name=a -c user.email=b commit -qm x; git fsck --strict"#,
    },
];

const REMOVING: &[Case] = &[
    Case {
        name: "rm -r",
        tools: &[],
        script: r#"cp -a "$OUT/tree" tree; rm -r tree; test -z "$(ls -A)""#,
    },
    Case {
        name: "rmdir of a full directory",
        tools: &[],
        script: r#"mkdir d; touch d/f; ! rmdir d 2> "$OUT/$CASE/err"; grep -q 'not empty' "$OUT/$CASE/err"; rm d/f; rmdir d"#,
    },
    Case {
        name: "find -delete",
        tools: &[],
        script: r#"cp -a "$OUT/tree" tree; find tree -delete; test -z "$(ls -A)""#,
    },
    Case {
        name: "cp over a file that is read",
        tools: &[],
        script: r#"cp "$OUT/big" f; exec 3< f; cp "$OUT/small" g; mv g f; cmp "$OUT/big" - <&3; cmp "$OUT/small" f"#,
    },
];

#[test]
fn tools_that_copy() {
    run(COPYING);
}

#[test]
fn tools_that_write() {
    run(WRITING);
}

#[test]
fn tools_that_remove() {
    run(REMOVING);
}

fn run(cases: &[Case]) {
    let mut test = TestMount::new();
    test.source("big", 3 * 1024 * 1024, 1);
    test.source("small", 10 * 1024, 2);
    make_tree(&test.outside.join("tree"));
    let mut failures = Vec::new();
    for (index, case) in cases.iter().enumerate() {
        for (tool, package) in case.tools {
            need(tool, package);
        }
        let id = format!("case-{index}");
        let directory = test.path.join(&id);
        fs::create_dir(&directory).unwrap();
        fs::create_dir(test.outside.join(&id)).unwrap();
        let output = test.sh_in(
            &directory,
            &format!("CASE={id}; export CASE; set -x\n{}", case.script),
        );
        if !output.status.success() {
            failures.push(format!(
                "{}: {}\n{}",
                case.name,
                output.status,
                said(&output)
            ));
        }
    }
    assert!(
        failures.is_empty(),
        "{} of {} cases failed\n{}",
        failures.len(),
        cases.len(),
        failures.join("\n")
    );
    let before = contents(&test.path);
    test.restart();
    let after = contents(&test.path);
    for (path, bytes) in &before {
        assert_eq!(
            after.get(path).map(Vec::len),
            Some(bytes.len()),
            "{path} after a restart"
        );
        assert!(
            after.get(path) == Some(bytes),
            "{path} has other bytes after a restart"
        );
    }
    assert_eq!(before.len(), after.len(), "files after a restart");
}

fn make_tree(root: &Path) {
    fs::create_dir_all(root.join("a/b/c")).unwrap();
    fs::create_dir(root.join("empty")).unwrap();
    for (name, len) in [
        ("a/one", 1),
        ("a/b/two", 70_000),
        ("a/b/c/three", 0),
        ("four", 4096),
        (".hidden", 5),
    ] {
        fs::write(root.join(name), crate::material::noise(len, 3 + len as u64)).unwrap();
    }
}

/// Returns the bytes of each file by its path below `root`.
pub fn contents(root: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut waiting = vec![root.to_path_buf()];
    while let Some(directory) = waiting.pop() {
        for entry in fs::read_dir(&directory).unwrap() {
            let entry = entry.unwrap();
            let path = entry.path();
            if path == root.join(".hls") {
                continue;
            }
            if entry.file_type().unwrap().is_dir() {
                waiting.push(path);
            } else {
                let key = path
                    .strip_prefix(root)
                    .unwrap()
                    .to_string_lossy()
                    .into_owned();
                found.insert(key, fs::read(&path).unwrap());
            }
        }
    }
    found
}
