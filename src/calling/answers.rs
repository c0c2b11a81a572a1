//! Receipts and replies that a program awaits of a call's peer.

use std::collections::BTreeMap;
use std::task::{Context, Poll, Waker};

use crate::client::{RequestError, SendError, judged};
use crate::proto::{Message, MessageKind};

/// Answers awaited at a time, as [`max_commands`](crate::client::Config::max_commands) of a client.
const MAX_AWAITED: usize = 256;

/// What is awaited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Awaits {
    Receipt,
    Reply,
}

struct Awaited {
    what: Awaits,
    answer: Option<Result<Message, RequestError>>,
    /// Part of it came since this was last asked.
    progress: bool,
    waker: Option<Waker>,
}

/// By the `id` of what was sent.
#[derive(Default)]
pub(crate) struct Answers(BTreeMap<String, Awaited>);

impl Answers {
    /// An answer is awaited from now on.
    pub(crate) fn add(&mut self, id: &str, what: Awaits) -> Result<(), SendError> {
        if self.0.len() >= MAX_AWAITED {
            return Err(SendError::TooManyCommands);
        }
        if self.0.contains_key(id) {
            let reason = "its \"id\" is that of one whose answer is awaited".into();
            return Err(SendError::Invalid { reason });
        }
        self.0.insert(id.to_owned(), Awaited { what, answer: None, progress: false, waker: None });
        Ok(())
    }

    /// Takes what came, if it is an answer. Returns whether it is, and whom to wake.
    pub(super) fn take_in(&mut self, message: &Message) -> (bool, Option<Waker>) {
        let status = message.status();
        let is_receipt = *message.kind() == MessageKind::Receipt;
        let is_reply = *message.kind() == MessageKind::Command && status.is_some();
        if !is_receipt && !is_reply {
            return (false, None);
        }
        let awaited = message.id().and_then(|id| self.0.get_mut(id)).filter(|known| known.answer.is_none());
        // A receipt is nothing for programs; a late reply is.
        let Some(awaited) = awaited else { return (is_receipt, None) };
        let delivered = || message.get::<u64>("delivered").ok().flatten().unwrap_or(0);
        let answer = match (is_receipt, awaited.what) {
            (true, _) if delivered() == 0 => Err(RequestError::NobodyThere),
            (true, Awaits::Receipt) => Ok(message.clone()),
            (true, Awaits::Reply) => return (true, None),
            (false, Awaits::Receipt) => return (false, None),
            (false, Awaits::Reply) => match judged(message) {
                Some(answer) => answer,
                None => {
                    awaited.progress = true;
                    return (true, awaited.waker.take());
                }
            },
        };
        awaited.answer = Some(answer);
        (true, awaited.waker.take())
    }

    /// The answer, once it is there; it is forgotten then.
    pub(crate) fn poll(&mut self, id: &str, cx: &Context<'_>) -> Poll<Result<Message, RequestError>> {
        let Some(awaited) = self.0.get_mut(id) else { return Poll::Ready(Err(RequestError::Closed)) };
        if awaited.answer.is_none() {
            awaited.waker = Some(cx.waker().clone());
            return Poll::Pending;
        }
        let answer = self.0.remove(id).and_then(|awaited| awaited.answer);
        Poll::Ready(answer.unwrap_or(Err(RequestError::Closed)))
    }

    /// Whether part of the answer came since the last call: the timeout begins again.
    pub(super) fn take_progress(&mut self, id: &str) -> bool {
        self.0.get_mut(id).is_some_and(|awaited| std::mem::take(&mut awaited.progress))
    }

    /// Nobody awaits it any more.
    pub(crate) fn forget(&mut self, id: &str) -> Option<Waker> {
        self.0.remove(id)?.waker
    }

    /// No answer can come any more: whom to wake.
    pub(super) fn fail_all(&mut self) -> Vec<Waker> {
        let open = self.0.values_mut().filter(|awaited| awaited.answer.is_none());
        let fail = |awaited: &mut Awaited| {
            awaited.answer = Some(Err(RequestError::Lost));
            awaited.waker.take()
        };
        open.filter_map(fail).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(text: &str) -> Message {
        Message::parse(text).expect("a message")
    }

    fn cx() -> Context<'static> {
        Context::from_waker(Waker::noop())
    }

    #[test]
    fn answers_are_told_by_id_type_and_status() {
        let receipt = |id: &str, delivered| {
            message(&format!(r#"{{"type":"receipt","id":"{id}","status":200,"delivered":{delivered}}}"#))
        };
        let reply =
            |id: &str, status| message(&format!(r#"{{"type":"command","id":"{id}","status":{status}}}"#));
        // What is awaited, what comes, whether it is taken as an answer, and what that is.
        type Row = (Awaits, Message, bool, Option<Result<(), &'static str>>);
        let table: [Row; 10] = [
            (Awaits::Receipt, receipt("7", 1), true, Some(Ok(()))),
            (Awaits::Receipt, receipt("7", 0), true, Some(Err("nobody-there"))),
            (Awaits::Receipt, receipt("8", 1), true, None),
            (Awaits::Receipt, reply("7", 200), false, None),
            (Awaits::Reply, receipt("7", 1), true, None),
            (Awaits::Reply, receipt("7", 0), true, Some(Err("nobody-there"))),
            (Awaits::Reply, reply("7", 202), true, None),
            (Awaits::Reply, reply("7", 200), true, Some(Ok(()))),
            (Awaits::Reply, reply("7", 403), true, Some(Err("refused"))),
            (Awaits::Reply, message(r#"{"type":"command","id":"7","node":"pan"}"#), false, None),
        ];
        for (what, message, taken, answer) in table {
            let mut answers = Answers::default();
            answers.add("7", what).expect("the first");
            assert_eq!(answers.take_in(&message).0, taken, "{what:?} {}", message.as_str());
            let polled = match answers.poll("7", &cx()) {
                Poll::Pending => None,
                Poll::Ready(answer) => Some(answer.map(drop).map_err(|e| e.code())),
            };
            assert_eq!(polled, answer, "{what:?} {}", message.as_str());
        }
    }

    #[test]
    fn a_part_of_an_answer_is_progress_once() {
        let mut answers = Answers::default();
        answers.add("7", Awaits::Reply).expect("the first");
        assert!(answers.poll("7", &cx()).is_pending() && !answers.take_progress("7"));
        let more = message(r#"{"type":"command","id":"7","status":202}"#);
        let (taken, waker) = answers.take_in(&more);
        assert!(taken && waker.is_some(), "who waits sets its alarm again");
        assert!(answers.take_progress("7") && !answers.take_progress("7"));
        assert!(answers.poll("7", &cx()).is_pending());
    }

    #[test]
    fn what_is_awaited_is_limited_and_ends() {
        let mut answers = Answers::default();
        for n in 0..MAX_AWAITED {
            answers.add(&n.to_string(), Awaits::Reply).expect("there is room");
        }
        assert_eq!(answers.add("more", Awaits::Reply), Err(SendError::TooManyCommands));
        answers.forget("3");
        assert!(matches!(answers.add("4", Awaits::Reply), Err(SendError::Invalid { .. })));
        answers.fail_all();
        assert_eq!(answers.poll("4", &cx()), Poll::Ready(Err(RequestError::Lost)));
        assert_eq!(answers.poll("3", &cx()), Poll::Ready(Err(RequestError::Closed)));
    }
}
