//! Who may do what at a camera's own server: who enters, who may watch, which pages may connect.

use super::{Admit, Serve};
use crate::Server;
use crate::net::site::Guard;
use crate::net::{AuthRequest, Origins};
use crate::proto::{Status, Token};
use crate::server::Admission;

/// Who may see snapshots, the status and the credentials of ICE servers.
pub(super) fn watchers(serve: &Serve) -> Guard {
    match &serve.token {
        Some(token) => Guard::Token { token: token.clone() },
        None if serve.asks() => Guard::Nobody,
        None => Guard::Everybody,
    }
}

/// Has the application or the token decide who enters; never both. `token` gives the one that counts now.
pub(super) fn decide_who_enters(
    server: &Server,
    serve: &Serve,
    token: impl Fn() -> Option<Token> + Send + 'static,
) {
    match (&serve.admit, &serve.token) {
        (Admit::Token, None) => {}
        (Admit::Token, Some(_)) => server.judge(move |request| {
            let mine = !request.is_heard();
            if mine {
                judge(request, token().as_ref());
            }
            mine
        }),
        (Admit::Application(judge), _) => {
            let judge = judge.clone();
            server.judge(move |request| {
                judge(request.clone());
                true
            });
        }
    }
}

/// Admits whoever knows the token; the hub puts everybody into the camera's room.
fn judge(request: &AuthRequest, token: Option<&Token>) {
    let shown = request.auth.token.as_ref();
    if token.zip(shown).is_some_and(|(token, shown)| token.is(shown.reveal())) {
        request.admit(Admission::default());
    } else {
        request.refuse(Status::UNAUTHORIZED, "Authentication failed: wrong or missing token");
    }
}

/// The pages that may connect besides the camera's own.
pub(super) fn origins(listed: &[String]) -> Origins {
    if listed.iter().any(|origin| origin.trim() == "*") {
        log::warn!(
            "origins contains *: pages of any website can connect to this camera from their visitors' browsers"
        );
        return Origins::Any;
    }
    Origins::OwnAnd { others: listed.to_vec() }
}
