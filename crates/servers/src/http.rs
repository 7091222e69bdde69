//! HTTP requests to servers, from any thread.

use object_store::ClientOptions;
use object_store::client::{HttpConnector, HttpRequest, ReqwestConnector};

/// Status and body of an answer; `None` where there was none.
pub(crate) fn send(request: HttpRequest) -> Option<(u16, String)> {
    // On a thread of its own, because the caller's may belong to a runtime, which cannot be blocked on another one.
    let sender = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let client =
                ReqwestConnector::default().connect(&ClientOptions::new().with_allow_http(true)).expect("a client");
            let answer = client.execute(request).await.ok()?;
            let status = answer.status().as_u16();
            let body = answer.into_body().bytes().await.ok()?;
            Some((status, String::from_utf8_lossy(&body).into_owned()))
        })
    });
    sender.join().expect("it does not panic")
}

/// A request without a body.
pub(crate) fn request(method: &str, url: &str, body: String) -> HttpRequest {
    let mut request = HttpRequest::new(body.into());
    *request.method_mut() = method.parse().expect("a method");
    *request.uri_mut() = url.parse().expect("an address");
    request
}

/// Whether `GET url` is answered with 200.
pub(crate) fn is_well(url: &str) -> Option<()> {
    send(request("GET", url, String::new())).filter(|(status, _)| *status == 200).map(drop)
}
