//! Detection of a signal that is ending the program that closes a file. In FUSE operations a killed
//! copier looks exactly like a finished one; the kernel's process table tells them apart.

use std::fs;
use std::time::Duration;

/// Longest wait for the process table. It answers in microseconds, except about a program with
/// several threads that is ending. The kernel then answers only after the program has ended, which
/// waits for the very `close` that we are asked about.
const PATIENCE: Duration = Duration::from_millis(500);

/// Positions in `/proc/PID/stat` behind the command name (proc(5)): flags is field 9, exit_code is 52.
const FLAGS_FIELD: usize = 9 - 3;
const EXIT_CODE_FIELD: usize = 52 - 3;
/// `PF_EXITING` of the kernel's sched.h.
const PF_EXITING: u64 = 0x4;
/// Mask of the low bits of an exit code, which are the signal (wait(2)).
const SIGNAL_MASK: i64 = 0x7f;

/// Returns the reason why the file of a closing writer is not whole, or `None` when nothing is
/// wrong. A look-up that takes too long goes on by itself and ends once the `close` is answered.
pub async fn cut_short(pid: u32) -> Option<String> {
    let look = tokio::task::spawn_blocking(move || fatal_signal(pid));
    let advice = "copy it again, or `tgfs retry` it as it is";
    match tokio::time::timeout(PATIENCE, look).await {
        Ok(Ok(Some(signal))) => Some(format!(
            "the program that wrote it was ended by signal {signal}; {advice}"
        )),
        Ok(Ok(None) | Err(_)) => None,
        Err(_) if has_memory(pid).await => None,
        Err(_) => Some(format!(
            "the program that wrote it ended with the file open; {advice}"
        )),
    }
}

/// Returns whether the process still has memory, and so lives on. A child of the writer closes the
/// file inside `execve`, under the lock that its `stat` needs, and has memory then. A process that
/// is ending gives its memory back before it closes files, and `status` (proc(5)) shows no sizes
/// for it. Reading `status` needs no such lock.
async fn has_memory(pid: u32) -> bool {
    let look =
        tokio::task::spawn_blocking(move || fs::read_to_string(format!("/proc/{pid}/status")));
    match tokio::time::timeout(PATIENCE, look).await {
        Ok(Ok(Ok(status))) => status.lines().any(|line| line.starts_with("VmSize:")),
        _ => false,
    }
}

/// Returns the signal that is ending the process. Returns `None` when the process closes the file
/// by itself, or is already gone.
#[must_use]
fn fatal_signal(pid: u32) -> Option<i64> {
    if pid == 0 {
        return None;
    }
    parse(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

fn parse(stat: &str) -> Option<i64> {
    // The command name may hold spaces and brackets, so fields are counted from the last bracket.
    let (_, rest) = stat.rsplit_once(") ")?;
    let fields: Vec<&str> = rest.split_whitespace().collect();
    let flags: u64 = fields.get(FLAGS_FIELD)?.parse().ok()?;
    let code: i64 = fields.get(EXIT_CODE_FIELD)?.parse().ok()?;
    let signal = code & SIGNAL_MASK;
    (flags & PF_EXITING != 0 && signal != 0).then_some(signal)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stat(flags: u64, code: i64) -> String {
        let mut fields = vec!["0".to_owned(); 50];
        fields[0] = "R".to_owned();
        fields[FLAGS_FIELD] = flags.to_string();
        fields[EXIT_CODE_FIELD] = code.to_string();
        format!("12 (a) b) {}", fields.join(" "))
    }

    #[test]
    fn only_death_by_a_signal_counts() {
        assert_eq!(parse(&stat(PF_EXITING, 9)), Some(9));
        assert_eq!(
            parse(&stat(PF_EXITING, 0x100)),
            None,
            "exit(1) closes what it wrote"
        );
        assert_eq!(parse(&stat(0, 9)), None);
        assert_eq!(parse("garbage"), None);
        assert_eq!(fatal_signal(std::process::id()), None);
    }
}
