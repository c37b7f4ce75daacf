//! Choice among the errors of the bots that were asked for the same bytes.

use std::sync::Arc;

use crate::remote::telegram::bots::Member;
use crate::remote::telegram::mtproto::call_error::CallError;
use crate::remote::telegram::mtproto::rpc_error::RpcErrorName;
use crate::remote::{RemoteError, RemoteErrorKind};

/// Errors of the bots that were asked, by their meaning. The first of each kind counts.
#[derive(Debug, Default)]
pub struct ReadErrors {
    passing: Option<(u32, CallError)>,
    missing: Option<(u32, CallError)>,
    lasting: Option<(u32, CallError)>,
}

impl ReadErrors {
    /// Notes the error of a bot.
    pub fn note(&mut self, member: Option<&Arc<Member>>, error: CallError) {
        let slot = if error.is(&RpcErrorName::MessageIdInvalid) {
            &mut self.missing
        } else if error.is_passing() || error.wait().is_some() {
            &mut self.passing
        } else {
            &mut self.lasting
        };
        let number = member.map_or(0, |member| member.bot.number);
        slot.get_or_insert((number, error));
    }

    /// Returns the error to report. One bot that sees that the message is gone is enough. Otherwise a
    /// temporary error is preferred to a permanent one.
    pub fn most_useful(self, op: &str) -> RemoteError {
        if self.missing.is_some() {
            let message = "the post that holds it is gone from the channel";
            return RemoteError::new(RemoteErrorKind::NotFound, op, message);
        }
        match self.passing.or(self.lasting) {
            Some((number, error)) => error.into_remote(format!("{op} with bot {number}")),
            None => RemoteError::new(RemoteErrorKind::Denied, op, "no bot may read the channel"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_that_is_gone_comes_first_and_then_errors_that_pass() {
        let lost = || CallError::Disconnected("the connection ended".into());
        let refused = || CallError::refused(RpcErrorName::ChannelPrivate);
        let kind = |errors: Vec<CallError>| {
            let mut all = ReadErrors::default();
            errors.into_iter().for_each(|error| all.note(None, error));
            all.most_useful("read").kind
        };
        let gone = CallError::refused(RpcErrorName::MessageIdInvalid);
        assert_eq!(
            kind(vec![lost(), refused(), gone]),
            RemoteErrorKind::NotFound
        );
        assert_eq!(kind(vec![refused(), lost()]), RemoteErrorKind::Unavailable);
        assert_eq!(kind(vec![refused()]), RemoteErrorKind::Denied);
        assert_eq!(kind(Vec::new()), RemoteErrorKind::Denied);
    }
}
