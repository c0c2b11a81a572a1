//! Who may do what at a camera: who enters its own server, who may watch, which pages may connect, who may set its
//! controls, who may talk.

use super::{Admit, Controllers, Serve, Signalling};
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

/// Who may do something at one camera that affects others: set its controls, or talk.
pub(crate) struct Permission {
    controllers: Controllers,
    /// Whether [`Controllers::Auto`] means everybody here.
    is_open: bool,
}

impl Permission {
    pub(crate) fn new(controllers: Controllers, signalling: &Signalling) -> Self {
        let is_open = match signalling {
            Signalling::Serve(serve) => serve.is_guarded(),
            // The rules of that server are unknown here.
            Signalling::Connect(_) | Signalling::Within(_) => false,
        };
        Permission { controllers, is_open }
    }

    /// Whether the user has it.
    pub(super) fn allows(&self, user: &str) -> bool {
        match &self.controllers {
            Controllers::Auto => self.is_open,
            Controllers::Nobody => false,
            Controllers::Everybody => true,
            Controllers::Users(users) => users.iter().any(|allowed| allowed == user),
        }
    }

    /// Whether any user has it.
    pub(super) fn is_given(&self) -> bool {
        match &self.controllers {
            Controllers::Auto => self.is_open,
            Controllers::Nobody => false,
            Controllers::Everybody => true,
            Controllers::Users(users) => !users.is_empty(),
        }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::camera::Connect;

    fn serve(listen: &str, token: Option<&str>) -> Signalling {
        let listen = vec![listen.parse().expect("literal")];
        Signalling::Serve(Serve { listen, token: token.map(Token::new), ..Serve::default() })
    }

    #[test]
    fn controls_are_permitted_by_configuration_token_and_address() {
        let other_server = Signalling::Connect(Connect::new("wss://a.example"));
        let Signalling::Serve(local) = serve("127.0.0.1:4500", None) else { unreachable!("made as such") };
        let trusted_proxies = vec!["127.0.0.1".parse().expect("a network")];
        let proxied = Signalling::Serve(Serve { trusted_proxies, ..local });
        let users = |names: &[&str]| Controllers::Users(names.iter().map(|&name| name.into()).collect());
        // Whether bob may, and whether anybody may.
        let table = [
            (Controllers::Auto, serve("127.0.0.1:4500", None), true, true),
            (Controllers::Auto, serve("[::1]:4500", None), true, true),
            (Controllers::Auto, serve("0.0.0.0:4500", None), false, false),
            (Controllers::Auto, serve("0.0.0.0:4500", Some("secret")), true, true),
            (Controllers::Auto, proxied, false, false),
            (Controllers::Auto, other_server.clone(), false, false),
            (Controllers::Everybody, other_server.clone(), true, true),
            (Controllers::Everybody, serve("0.0.0.0:4500", None), true, true),
            (Controllers::Nobody, serve("127.0.0.1:4500", Some("secret")), false, false),
            (users(&["bob"]), other_server.clone(), true, true),
            (users(&["eve"]), serve("127.0.0.1:4500", None), false, true),
            (users(&[]), other_server, false, false),
        ];
        for (controllers, signalling, bob, anybody) in table {
            let row = format!("{controllers:?} {signalling:?}");
            let permission = Permission::new(controllers, &signalling);
            assert_eq!((permission.allows("bob"), permission.is_given()), (bob, anybody), "{row}");
        }
    }
}
