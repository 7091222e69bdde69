//! Posting one notice over HTTP, again after failures that may pass, within a bounded time.

use std::time::Duration;

use reqwest::header::CONTENT_TYPE;
use reqwest::redirect::Policy;
use reqwest::{Client, StatusCode};
use tokio::time::{Instant, sleep, timeout_at};

use super::channel::Post;
use crate::{QualityError, Result};

/// The wait before the second try; it doubles each time.
const FIRST_PAUSE: Duration = Duration::from_millis(200);

/// A client that follows no redirect: a notice goes where its secret says and nowhere else.
pub(super) fn client() -> Result<Client> {
    let client = Client::builder().redirect(Policy::none()).user_agent(concat!("smelt/", env!("CARGO_PKG_VERSION")));
    client.build().map_err(|_| QualityError::Alerts("no HTTP client can be made here (TLS roots?)".to_owned()))
}

/// Posts until it is accepted, refused for good, or the time is up.
///
/// # Errors
/// Why it was not accepted last, without the address.
pub(super) async fn post(client: &Client, post: &Post, until: Instant) -> Result<(), String> {
    let mut pause = FIRST_PAUSE;
    loop {
        // A server that hangs leaves time for one more try.
        let left = until.saturating_duration_since(Instant::now());
        let attempt = client.post(post.address()).header(CONTENT_TYPE, "application/json").body(post.body.to_string());
        let attempt = attempt.timeout(left.mul_f64(0.6)).send();
        let (why, again) = match timeout_at(until, attempt).await {
            Err(_) => ("it did not answer in time".to_owned(), false),
            Ok(Ok(answer)) if answer.status().is_success() => return Ok(()),
            Ok(Ok(answer)) => (format!("it answered {}", answer.status()), may_pass(answer.status())),
            Ok(Err(error)) => (reason(&error).to_owned(), !error.is_builder()),
        };
        if !again || Instant::now() + pause >= until {
            return Err(why);
        }
        tracing::debug!("a notice was not accepted, {why}; trying again");
        sleep(pause).await;
        pause *= 2;
    }
}

fn may_pass(status: StatusCode) -> bool {
    status.is_server_error() || matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT)
}

/// What went wrong, in words that cannot hold the address.
fn reason(error: &reqwest::Error) -> &'static str {
    if error.is_timeout() {
        "it did not answer in time"
    } else if error.is_connect() {
        "it cannot be reached"
    } else if error.is_builder() {
        "its address is no URL"
    } else {
        "the connection broke"
    }
}
