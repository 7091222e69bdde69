//! The queue that messages come in, apart from the client's other events, by librdkafka's C interface.
//!
//! One message at a time, as rdkafka hands them out, costs a lock of the queue, several looks at the clock and an event
//! object each. Of the calls that take many at once, `rd_kafka_consume_callback_queue` lets transaction markers of an earlier
//! assignment move the client's position (librdkafka 2.12: `rd_kafka_op_handle_std` comes before the look at the version),
//! which would skip messages in silence. `rd_kafka_consume_batch_queue` does not; but it moves the position behind an error
//! or an end of a partition as behind a message. So ends are only asked for where a partition is not read any further, and
//! partitions are placed anew after an error that has an offset.

#![allow(unsafe_code, reason = "rdkafka has no call that takes many messages at once")]

use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::marker::PhantomData;
use std::ptr::{self, NonNull};
use std::time::Duration;

use rdkafka::bindings::{
    rd_kafka_consume_batch_queue, rd_kafka_header_get_all, rd_kafka_headers_t, rd_kafka_message_destroy,
    rd_kafka_message_errstr, rd_kafka_message_headers, rd_kafka_message_t, rd_kafka_message_timestamp,
    rd_kafka_queue_destroy, rd_kafka_queue_forward, rd_kafka_queue_get_consumer, rd_kafka_queue_get_partition,
    rd_kafka_queue_length, rd_kafka_queue_new, rd_kafka_queue_t, rd_kafka_t, rd_kafka_timestamp_type_t,
    rd_kafka_topic_name,
};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::types::RDKafkaRespErr;

use super::context::Context;
use super::not_yet::Trouble;
use super::partitions::TopicPartition;

/// The most messages that are taken at once.
const AT_ONCE: usize = 1000;

/// The messages of all partitions that are led here. It must be dropped before its consumer.
pub(super) struct Messages {
    client: *mut rd_kafka_t,
    queue: Queue,
    /// Where everything else comes.
    events: Queue,
}

impl Messages {
    /// An empty queue beside the events of `consumer`, which has a group.
    pub fn new(consumer: &BaseConsumer<Context>) -> Self {
        let client = consumer.client().native_ptr();
        // SAFETY: the client lives. A new queue is never null, as librdkafka aborts where there is no memory; that of events is
        // there where a group is.
        let (queue, events) = unsafe { (rd_kafka_queue_new(client), rd_kafka_queue_get_consumer(client)) };
        let there = |queue| Queue(NonNull::new(queue).expect("every consumer of a group has these queues"));
        Self { client, queue: there(queue), events: there(events) }
    }

    /// Has the messages of a partition come here. The client ends that whenever the partition is assigned anew, at a time of
    /// its own; it never again leads this partition's messages to its events, they wait with the partition until it is led
    /// here anew.
    pub fn lead(&self, partition: &TopicPartition) {
        self.forward(partition, self.queue.0.as_ptr());
    }

    /// Has the messages of a partition that is given back stay with it.
    pub fn leave(&self, partition: &TopicPartition) {
        self.forward(partition, ptr::null_mut());
    }

    fn forward(&self, partition: &TopicPartition, to: *mut rd_kafka_queue_t) {
        let Ok(topic) = CString::new(partition.topic.as_bytes()) else { return };
        // SAFETY: the client lives, and the reference to the partition's queue is ours.
        let from = unsafe { rd_kafka_queue_get_partition(self.client, topic.as_ptr(), partition.id) };
        if let Some(from) = NonNull::new(from).map(Queue) {
            // SAFETY: both queues live, or there is none to lead to.
            unsafe { rd_kafka_queue_forward(from.0.as_ptr(), to) }
        }
    }

    /// Takes what waits, or what comes first within `wait` and what waits then.
    pub fn take(&self, wait: Duration) -> Batch {
        let mut batch = Batch(Vec::with_capacity(AT_ONCE));
        // The call waits until it has as many as are asked for.
        self.add(&mut batch, 1, wait);
        if !batch.0.is_empty() {
            self.add(&mut batch, AT_ONCE - 1, Duration::ZERO);
        }
        batch
    }

    fn add(&self, batch: &mut Batch, most: usize, wait: Duration) {
        let millis = c_int::try_from(wait.as_millis()).unwrap_or(c_int::MAX);
        batch.0.reserve(most);
        let start = batch.0.len();
        // SAFETY: the queue lives, and there is room for as many pointers, of which it fills the first so many. What is
        // handed out is ours until it is destroyed.
        unsafe {
            let room = batch.0.as_mut_ptr().add(start);
            let count = rd_kafka_consume_batch_queue(self.queue.0.as_ptr(), millis, room, most);
            batch.0.set_len(start + usize::try_from(count).unwrap_or(0));
        }
    }

    /// How many events wait.
    pub fn events(&self) -> usize {
        // SAFETY: the queue lives.
        unsafe { rd_kafka_queue_length(self.events.0.as_ptr()) }
    }
}

/// A reference to a queue. What is led to one of our own holds a reference itself.
struct Queue(NonNull<rd_kafka_queue_t>);

impl Drop for Queue {
    fn drop(&mut self) {
        // SAFETY: a reference of ours, and the client still lives.
        unsafe { rd_kafka_queue_destroy(self.0.as_ptr()) }
    }
}

/// Messages that were taken together, those of a partition in its order.
pub(super) struct Batch(Vec<*mut rd_kafka_message_t>);

impl Batch {
    pub fn iter(&self) -> impl Iterator<Item = Received<'_>> {
        // SAFETY: they live as long as this does.
        self.0.iter().map(|message| Received(unsafe { &**message }))
    }
}

impl Drop for Batch {
    fn drop(&mut self) {
        for message in &self.0 {
            // SAFETY: ours, and nobody has them any more.
            unsafe { rd_kafka_message_destroy(*message) }
        }
    }
}

/// A message, or an error or end of a partition, as the client hands it over.
pub(super) struct Received<'a>(&'a rd_kafka_message_t);

impl<'a> Received<'a> {
    /// What is wrong, if this is not a message.
    pub fn trouble(&self) -> Option<Trouble> {
        let error = match self.0.err {
            RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR => return None,
            RDKafkaRespErr::RD_KAFKA_RESP_ERR__PARTITION_EOF => KafkaError::PartitionEOF(self.0.partition),
            code => KafkaError::MessageConsumption(code.into()),
        };
        // SAFETY: a text of the message's own or a static one, or null.
        let said = unsafe { text(rd_kafka_message_errstr(self.0)) };
        Some(Trouble::new(error, said.map(|said| String::from_utf8_lossy(said.to_bytes()).into_owned())))
    }

    /// Whether the end of a partition was reached.
    pub fn is_end(&self) -> bool {
        self.0.err == RDKafkaRespErr::RD_KAFKA_RESP_ERR__PARTITION_EOF
    }

    pub fn topic(&self) -> &'a str {
        // SAFETY: the message holds its topic, and the topic its name.
        let name = unsafe { if self.0.rkt.is_null() { None } else { text(rd_kafka_topic_name(self.0.rkt)) } };
        name.and_then(|name| name.to_str().ok()).unwrap_or_default()
    }

    pub fn partition(&self) -> i32 {
        self.0.partition
    }

    pub fn offset(&self) -> i64 {
        self.0.offset
    }

    /// Milliseconds since 1970, where the message has a time.
    pub fn millis(&self) -> Option<i64> {
        let mut kind = rd_kafka_timestamp_type_t::RD_KAFKA_TIMESTAMP_NOT_AVAILABLE;
        // SAFETY: a message that was fetched, and a place for the kind of its time.
        let millis = unsafe { rd_kafka_message_timestamp(self.0, &raw mut kind) };
        (kind != rd_kafka_timestamp_type_t::RD_KAFKA_TIMESTAMP_NOT_AVAILABLE && millis != -1).then_some(millis)
    }

    pub fn key(&self) -> Option<&'a [u8]> {
        // SAFETY: the client's pointer and length, which live as long as the message.
        unsafe { bytes(self.0.key, self.0.key_len) }
    }

    /// `None` for a tombstone.
    pub fn payload(&self) -> Option<&'a [u8]> {
        // SAFETY: as above.
        unsafe { bytes(self.0.payload, self.0.len) }
    }

    /// Names and values; the name as the bytes that it is.
    pub fn headers(&self) -> Headers<'a> {
        let mut headers = ptr::null_mut();
        // SAFETY: a message that was fetched, which keeps its headers; without any, the pointer stays null.
        let _ = unsafe { rd_kafka_message_headers(self.0, &raw mut headers) };
        Headers { headers, next: 0, of: PhantomData }
    }
}

/// The headers of a message, in its order.
pub(super) struct Headers<'a> {
    headers: *const rd_kafka_headers_t,
    next: usize,
    of: PhantomData<&'a rd_kafka_message_t>,
}

impl<'a> Iterator for Headers<'a> {
    type Item = (&'a [u8], Option<&'a [u8]>);

    fn next(&mut self) -> Option<Self::Item> {
        if self.headers.is_null() {
            return None;
        }
        let (mut name, mut value, mut size) = (ptr::null(), ptr::null(), 0);
        // SAFETY: the message keeps its headers; what comes back lives as long as they do.
        unsafe {
            let found = rd_kafka_header_get_all(self.headers, self.next, &raw mut name, &raw mut value, &raw mut size);
            if found != RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR {
                return None;
            }
            self.next += 1;
            Some((text(name).map_or(&[][..], CStr::to_bytes), bytes(value, size)))
        }
    }
}

/// # Safety
/// Null, or a text that ends with a zero and lives for `'a`.
unsafe fn text<'a>(start: *const c_char) -> Option<&'a CStr> {
    // SAFETY: as the caller promises.
    (!start.is_null()).then(|| unsafe { CStr::from_ptr(start) })
}

/// # Safety
/// Null, or `length` bytes that live for `'a`.
unsafe fn bytes<'a>(start: *const c_void, length: usize) -> Option<&'a [u8]> {
    // SAFETY: as the caller promises.
    (!start.is_null()).then(|| unsafe { std::slice::from_raw_parts(start.cast::<u8>(), length) })
}
