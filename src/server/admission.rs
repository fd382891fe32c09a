//! `POST /admit`: what an API server asks before it stores an object. Bounded in size here; how long an answer may take
//! and how many are worked out at the same time, whoever answers decides.

use axum::Router;
use axum::body::{Bytes, HttpBody as _};
use axum::extract::{DefaultBodyLimit, FromRequest as _, Request, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use tokio::sync::watch;

use super::tls::Listener;

/// The most bytes of a question: what an API server takes in one request, and what it says around it.
const BYTES_MAX: usize = (3 * 1024 + 256) * 1024;

/// Somebody who answers.
pub trait Admits: Clone + Send + Sync + 'static {
    /// The answer to a review, in JSON; none where this is no review.
    fn admit(&self, review: &[u8]) -> impl Future<Output = Option<String>> + Send;
}

/// Serves until told to stop, and answers what was asked by then.
pub async fn serve<A: Admits>(listener: Listener, admits: A, mut stop: watch::Receiver<bool>) {
    let router =
        Router::new().route("/admit", post(admit::<A>)).layer(DefaultBodyLimit::max(BYTES_MAX)).with_state(admits);
    let stopped = async move {
        // Whoever could tell it is gone.
        let _ = stop.wait_for(|stop| *stop).await;
    };
    if let Err(error) = axum::serve(listener, router).with_graceful_shutdown(stopped).await {
        tracing::error!(%error, "nobody answers API servers any more: {error}");
    }
}

async fn admit<A: Admits>(State(admits): State<A>, request: Request) -> Response {
    // What says that it is too large is not even read.
    if request.body().size_hint().lower() > BYTES_MAX as u64 {
        return StatusCode::PAYLOAD_TOO_LARGE.into_response();
    }
    let review = match Bytes::from_request(request, &()).await {
        Ok(review) => review,
        Err(refused) => return refused.into_response(),
    };
    match admits.admit(&review).await {
        Some(answer) => ([(header::CONTENT_TYPE, "application/json")], answer).into_response(),
        None => (StatusCode::BAD_REQUEST, "this is no AdmissionReview of admission.k8s.io/v1\n").into_response(),
    }
}
