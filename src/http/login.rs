//! `/login` and `/logout`. A link signs in by a POST from the page that it opens: programs that look at
//! links in advance fetch that page, and use nothing up.

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, LOCATION, REFERRER_POLICY, RETRY_AFTER, SET_COOKIE,
};
use http::{HeaderName, HeaderValue, Request, Response, StatusCode};

use crate::access::{Access, Principal};

use super::config::Trust;
use super::cookies::{self, Security};
use super::forwarded::RequestOrigin;
use super::gateway::Gateway;
use super::status;
use super::target;

/// Maximum size of the form in bytes.
const MAX_FORM_BYTES: usize = 4096;
/// Time for the form to arrive.
const FORM_DEADLINE: Duration = Duration::from_secs(10);
/// The page, with `{code}` for the code of the link and `{state}` for what it shows.
const PAGE: &str = include_str!("../../ui/static/login.html");
/// Content Security Policy of the page.
const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
);

/// Answers with the page that signs in when its button is pressed.
pub(super) fn page(query: Option<&str>) -> Response<Body> {
    let code = target::query_value(query, "code").filter(|code| is_code(code));
    let state = if code.is_some() { "link" } else { "token" };
    let text = PAGE
        .replace("{state}", state)
        .replace("{code}", &code.unwrap_or_default());
    let mut response = status::text(StatusCode::OK, "");
    *response.body_mut() = Body::from(text);
    let headers = response.headers_mut();
    headers.insert(
        http::header::CONTENT_TYPE,
        HeaderValue::from_static("text/html; charset=utf-8"),
    );
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(CONTENT_SECURITY_POLICY, POLICY);
    // A form of a page without a referrer would be sent with `Origin: null`.
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("same-origin"));
    headers.insert(
        HeaderName::from_static("x-robots-tag"),
        HeaderValue::from_static("noindex"),
    );
    response
}

/// Returns whether a text can be a code, so that it can stand in the page as it is.
fn is_code(text: &str) -> bool {
    !text.is_empty() && text.len() <= 128 && text.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

/// Credentials in a form.
enum Shown {
    Code(String),
    Token(String),
}

/// Signs in with the code of a link or with the token, in the form or in the query, and starts a session.
pub(super) async fn sign_in(gateway: &Gateway, request: Request<Body>) -> Response<Body> {
    let Trust::Guarded(access) = &gateway.config.trust else {
        return to_the_page(None);
    };
    let Some(origin) = request.extensions().get::<RequestOrigin>().cloned() else {
        return to_the_page(None);
    };
    let client = origin.client;
    let query = request.uri().query().map(str::to_owned);
    let form = match read_form(request.into_body()).await {
        Some(form) => form,
        None => return status::text(StatusCode::BAD_REQUEST, "the form is too large or too slow"),
    };
    let form = String::from_utf8_lossy(&form);
    let value = |key| {
        target::query_value(Some(&form), key).or_else(|| target::query_value(query.as_deref(), key))
    };
    let shown = match (value("code"), value("token")) {
        (Some(code), _) if !code.is_empty() => Shown::Code(code),
        (_, Some(token)) => Shown::Token(token.trim().to_owned()),
        _ => return status::text(StatusCode::BAD_REQUEST, "the form needs `code` or `token`"),
    };
    let wait = access.wait(client);
    if !wait.is_zero() {
        return too_often(wait);
    }
    match principal(access, &shown) {
        Some(principal) => {
            access.succeeded(client);
            start(origin.security(), access.clone(), principal).await
        }
        None => {
            access.failed(client);
            tracing::warn!(%client, "somebody tried to sign in with a wrong code or token");
            refused(&shown)
        }
    }
}

async fn read_form(body: Body) -> Option<Bytes> {
    let reading = axum::body::to_bytes(body, MAX_FORM_BYTES);
    tokio::time::timeout(FORM_DEADLINE, reading)
        .await
        .ok()?
        .ok()
}

fn principal(access: &Access, shown: &Shown) -> Option<Principal> {
    match shown {
        Shown::Code(code) => access.redeem(code),
        Shown::Token(token) => access.is_token(token.as_bytes()).then(Principal::owner),
    }
}

async fn start(security: Security, access: Arc<Access>, principal: Principal) -> Response<Body> {
    let started = tokio::task::spawn_blocking(move || access.start_session(principal)).await;
    match started {
        Ok(Ok(secret)) => {
            let cookie = cookies::set(secret.reveal(), security);
            to_the_page(Some(&cookie))
        }
        Ok(Err(error)) => not_kept(&error.to_string()),
        Err(error) => not_kept(&error.to_string()),
    }
}

fn not_kept(reason: &str) -> Response<Body> {
    tracing::error!("the file of sessions could not be written: {reason}");
    status::text(
        StatusCode::INTERNAL_SERVER_ERROR,
        "the session could not be kept; see the log of tgfs",
    )
}

/// Ends the session of a browser.
pub(super) async fn sign_out(gateway: &Gateway, request: Request<Body>) -> Response<Body> {
    let origin = request.extensions().get::<RequestOrigin>();
    let security = origin.map_or(Security::Plain, RequestOrigin::security);
    if let Trust::Guarded(access) = &gateway.config.trust {
        let shown: Vec<String> = cookies::values(request.headers(), security)
            .map(str::to_owned)
            .collect();
        let access = access.clone();
        let ended = tokio::task::spawn_blocking(move || {
            shown
                .iter()
                .try_for_each(|cookie| access.end_session(cookie))
        });
        match ended.await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => return not_kept(&error.to_string()),
            Err(error) => return not_kept(&error.to_string()),
        }
    }
    to_the_page(Some(&cookies::remove(security)))
}

/// Leads the browser to the page.
fn to_the_page(cookie: Option<&str>) -> Response<Body> {
    let mut response = status::text(StatusCode::SEE_OTHER, "signed in");
    let headers = response.headers_mut();
    // Relative, so that a prefix before our paths stays.
    headers.insert(LOCATION, HeaderValue::from_static("./"));
    if let Some(cookie) = cookie.and_then(|cookie| HeaderValue::from_str(cookie).ok()) {
        headers.insert(SET_COOKIE, cookie);
    }
    response
}

fn too_often(wait: Duration) -> Response<Body> {
    let mut response = status::text(
        StatusCode::TOO_MANY_REQUESTS,
        "too many wrong codes or tokens came from your address; wait a minute and try again",
    );
    let seconds = wait.as_secs().saturating_add(1);
    response
        .headers_mut()
        .insert(RETRY_AFTER, HeaderValue::from(seconds));
    response
}

fn refused(shown: &Shown) -> Response<Body> {
    let text = match shown {
        Shown::Code(_) => {
            "this link was used already, or is older than ten minutes; `tgfs login-link` prints a new one"
        }
        Shown::Token(_) => {
            "that is not the token; it is in the file http-token of the state directory"
        }
    };
    status::text(StatusCode::UNAUTHORIZED, text)
}
