//! Progress as clients hear it while they wait.

use std::time::Duration;

use tokio::sync::mpsc::Sender;

use super::wire::Response;
use crate::model::{FileInfo, JobInfo};

/// Time between two news of work without figures.
const TELL_EVERY: Duration = Duration::from_secs(1);

/// Returns the progress of one file.
pub fn progress_of(info: FileInfo) -> Response {
    let (step, done, total) = match info.upload {
        Some(upload) if upload.sent < upload.total => ("upload", upload.sent, upload.total),
        _ => (info.state.as_str(), u64::from(info.progress), 100),
    };
    Response::Progress {
        path: info.path,
        step: step.to_owned(),
        done,
        total,
    }
}

/// Returns the progress of all files: of their bytes, and behind these of their views.
pub fn progress_of_all(jobs: &[JobInfo], total: u64, done: u64) -> Response {
    let path = "all files".to_owned();
    if done < total {
        let step = "upload".to_owned();
        return Response::Progress {
            path,
            step,
            done,
            total,
        };
    }
    let steps: u64 = jobs
        .iter()
        .filter_map(|job| job.step_progress)
        .map(u64::from)
        .sum();
    Response::Progress {
        path,
        step: format!("{} left", jobs.len()),
        done: steps.checked_div(jobs.len() as u64).unwrap_or(0),
        total: 100,
    }
}

/// Returns the bytes of a job that the store does not have.
pub fn bytes_left(job: &JobInfo) -> u64 {
    match (job.spool_bytes, job.upload) {
        (0, _) => 0,
        (_, Some(upload)) => upload.total - upload.sent,
        (bytes, None) => bytes,
    }
}

/// Does work that takes long, and says each second that it goes on.
pub async fn under_way<T>(what: &str, work: impl Future<Output = T>, out: &Sender<Response>) -> T {
    tokio::pin!(work);
    loop {
        if let Ok(done) = tokio::time::timeout(TELL_EVERY, &mut work).await {
            return done;
        }
        let progress = Response::Progress {
            path: what.to_owned(),
            step: "at work".to_owned(),
            done: 0,
            total: 0,
        };
        // A client that does not keep up, or that has gone, needs no news.
        let _ = out.try_send(progress);
    }
}
