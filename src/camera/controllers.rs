//! Permissions for actions that affect all viewers of a camera.

/// Who may set the controls of a V4L2 camera: exposure, focus, brightness and so on, which affect all viewers.
///
/// A peer sends a command with the node `camera:control` and gets a reply with the same id:
///
/// | action | data | reply's data, with status 200 |
/// |---|---|---|
/// | `list` | | `{"controls":[…]}`, each a [`Control`](crate::media::source::controls::Control) |
/// | `set` | `{"name":"gain","value":12}` | `{"control":{…}}` with the actual value, since drivers may round |
/// | `reset` | `{"name":"gain"}` | the same |
///
/// A value is a number, `true` or `false`, the name of a menu item, or `null` for a button. An error reply has a `code`
/// and a `message`: 400 for a value out of range or an unknown action, 403 not allowed, 404 no such control, 503
/// temporarily unavailable (the camera is unplugged, or there are too many requests), 500 anything else.
///
/// A camera with controls has `"controls":true` in its presence. For any other source such commands go to the program
/// ([`Event::Client`](super::Event::Client)), which may implement controls of its own.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Controllers {
    /// If the camera has its own server with a token: everybody who knows the token. If its own server only listens on
    /// loopback and has no trusted proxies: everybody. Otherwise nobody.
    #[default]
    Auto,
    /// Only the program.
    Nobody,
    /// Every peer that shares a room with the camera.
    Everybody,
    /// The peers of these users. Their names are as reliable as the server's authentication: on a server without a
    /// token, anybody can use any name.
    Users(Vec<String>),
}
