//! A consumer with a queue of its own for messages, and whose end is bounded.

use std::ops::Deref;
use std::sync::mpsc;
use std::time::Duration;

use rdkafka::consumer::BaseConsumer;

use super::context::Context;
use super::messages::Messages;

/// How long the end of a run waits for the client to leave its group.
const CLOSE_WITHIN: Duration = Duration::from_secs(5);

/// A consumer that is closed on a thread of its own when it is dropped, and waited for only so long.
///
/// The drop of `BaseConsumer` (rdkafka 0.39) polls until the client has closed, without a limit, and librdkafka waits for
/// offset commits that a broker which is away did not take. Nothing rests on the close: positions are the table's, and
/// the group drops a member that is silent.
pub(super) struct Client {
    /// Before the consumer, which has to outlive it.
    messages: Option<Messages>,
    consumer: Option<BaseConsumer<Context>>,
}

impl Client {
    pub fn new(consumer: BaseConsumer<Context>) -> Self {
        Self { messages: Some(Messages::new(&consumer)), consumer: Some(consumer) }
    }

    /// Where messages come, of the partitions that are led there. Everything else that the client says is polled.
    pub fn messages(&self) -> &Messages {
        self.messages.as_ref().expect("taken by drop only")
    }
}

impl Deref for Client {
    type Target = BaseConsumer<Context>;

    fn deref(&self) -> &Self::Target {
        self.consumer.as_ref().expect("taken by drop only")
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        drop(self.messages.take());
        let Some(consumer) = self.consumer.take() else { return };
        let (closed, wait) = mpsc::channel();
        std::thread::spawn(move || {
            drop(consumer);
            // Nobody may wait any more.
            let _ = closed.send(());
        });
        if wait.recv_timeout(CLOSE_WITHIN).is_err() {
            tracing::warn!("kafka: the client did not leave its group within {CLOSE_WITHIN:?}; the group will drop it");
        }
    }
}
