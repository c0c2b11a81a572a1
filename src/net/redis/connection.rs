//! A connection to Redis. The caller polls its driver.

use std::future::{Future, poll_fn};
use std::net::TcpStream;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures_lite::{AsyncRead as _, AsyncWrite as _, FutureExt};
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, RedisConnectionInfo, Value};
use smol::Async;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::super::lookup::look_up;
use super::slots::{Slots, slot};
use super::url::{HostPort, RedisHosts};
use super::{PATIENCE, RedisError, RedisUrl};
use crate::net::reactor::Socket;
use crate::net::time::Timer;
use crate::net::ws::io::Io;
use crate::server::cluster::BROADCAST;

/// The timeout of one sentinel or node that is asked for the location of others, short enough to ask the next one.
const GUIDE: Duration = Duration::from_secs(1);

/// Ends when the connection does.
pub(super) type Driver = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Called with the channel and content of each published message.
pub(super) type Said = Box<dyn Fn(&str, &str) + Send + Sync>;

/// An open connection: its commands, and the future that drives them.
pub(super) struct Connection {
    pub commands: MultiplexedConnection,
    pub driver: Driver,
}

impl Connection {
    /// Connects to the Redis where all instances meet; `said` gets the messages of subscribed channels.
    ///
    /// In a cluster, that is the node with the slot of [`BROADCAST`]: messages reach subscribers at every node, but
    /// `PUBLISH` only counts those at its own.
    pub(super) async fn open(url: &RedisUrl, said: Said) -> Result<Connection, RedisError> {
        let opened = async {
            let at = match &url.place {
                RedisHosts::At(at) => at.clone(),
                RedisHosts::Sentinels(sentinels, name) => master(url, sentinels, name).await?,
                RedisHosts::Cluster(nodes) => {
                    let slots = slots(url, nodes).await?;
                    slots.holder(slot(BROADCAST)).cloned().ok_or_else(nobody)?
                }
            };
            Connection::dial(url, &at, Some(said)).await
        };
        in_time(PATIENCE, opened).await
    }

    /// Connects to the Redis at this address.
    pub(super) async fn to(url: &RedisUrl, at: &HostPort) -> Result<Connection, RedisError> {
        in_time(PATIENCE, Connection::dial(url, at, None)).await
    }

    async fn dial(url: &RedisUrl, at: &HostPort, said: Option<Said>) -> Result<Connection, RedisError> {
        let mut line = Connection::start(url, at, &url.login, said).await?;
        if !matches!(url.place, RedisHosts::At(_)) {
            // A sentinel or node may not know yet that the master has changed.
            let role: Vec<Value> = line.run(async |line| redis::cmd("ROLE").query_async(line).await).await?;
            if role.first() != Some(&Value::BulkString(b"master".to_vec())) {
                return Err(RedisError::new("unreachable", "This Redis is a replica"));
            }
        }
        Ok(line)
    }

    async fn start(
        url: &RedisUrl,
        at: &HostPort,
        login: &RedisConnectionInfo,
        said: Option<Said>,
    ) -> Result<Connection, RedisError> {
        let stream = Stream(connect(url, at).await?);
        // The caller has a timeout of its own.
        let mut config = AsyncConnectionConfig::new().set_response_timeout(None);
        if let Some(said) = said {
            config = config.set_push_sender(move |info: redis::PushInfo| {
                if let (
                    redis::PushKind::Message,
                    [redis::Value::BulkString(channel), redis::Value::BulkString(text)],
                ) = (&info.kind, &*info.data)
                    && let (Ok(channel), Ok(text)) = (std::str::from_utf8(channel), std::str::from_utf8(text))
                {
                    said(channel, text);
                }
                Ok::<(), ()>(())
            });
        }
        let (commands, driver) =
            MultiplexedConnection::new_with_config(login, stream, config).await.map_err(RedisError::of)?;
        Ok(Connection { commands, driver: Box::pin(driver) })
    }

    /// Whether the connection is still open, as far as known without a query.
    pub(super) async fn is_open(&mut self) -> bool {
        poll_fn(|cx| Poll::Ready(self.driver.as_mut().poll(cx).is_pending())).await
    }

    /// Runs `act` on the connection, until that closes or the timeout passes.
    pub(super) async fn run<T>(
        &mut self,
        act: impl AsyncFnOnce(&mut MultiplexedConnection) -> redis::RedisResult<T>,
    ) -> Result<T, RedisError> {
        let Connection { commands, driver } = self;
        let act = async { act(commands).await.map_err(RedisError::of) };
        let ended = async {
            driver.await;
            Err(RedisError::new("unreachable", "Redis closed the connection"))
        };
        in_time(PATIENCE, act.or(ended)).await
    }
}

async fn in_time<T>(
    time: Duration,
    act: impl Future<Output = Result<T, RedisError>>,
) -> Result<T, RedisError> {
    let late = async {
        Timer::after(time).await;
        Err(RedisError::late())
    };
    act.or(late).await
}

/// Asks the sentinels one after the other for the address of this master.
pub(super) async fn master(
    url: &RedisUrl,
    sentinels: &[HostPort],
    name: &str,
) -> Result<HostPort, RedisError> {
    let mut question = redis::cmd("SENTINEL");
    question.arg("get-master-addr-by-name").arg(name);
    let none = "The sentinels do not know a Redis of this name";
    // The password in the URL is for Redis, not for the sentinels.
    let login = RedisConnectionInfo::default();
    ask(url, &login, sentinels, &question, none, |answer, _| redis::from_redis_value(answer).ok()?).await
}

/// Asks the nodes of a cluster one after the other for its slots.
pub(super) async fn slots(url: &RedisUrl, nodes: &[HostPort]) -> Result<Slots, RedisError> {
    let mut question = redis::cmd("CLUSTER");
    question.arg("SLOTS");
    let none = "This Redis is not part of a cluster, or of one without nodes";
    let read =
        |answer: Value, at: &HostPort| Some(Slots::read(&answer, at)).filter(|slots| !slots.is_empty());
    ask(url, &url.login, nodes, &question, none, read).await
}

/// Returns the first answer of the `guides` that `read` accepts; `none` is the error message if there is none.
async fn ask<T>(
    url: &RedisUrl,
    login: &RedisConnectionInfo,
    guides: &[HostPort],
    question: &redis::Cmd,
    none: &'static str,
    read: impl Fn(Value, &HostPort) -> Option<T>,
) -> Result<T, RedisError> {
    let mut last = RedisError::new("unreachable", none);
    for at in guides {
        let asked = async {
            let mut line = Connection::start(url, at, login, None).await?;
            line.run(async |line| question.query_async::<Value>(line).await).await
        };
        match in_time(GUIDE, asked).await.map(|answer| read(answer, at)) {
            Ok(Some(found)) => return Ok(found),
            Ok(None) => last = RedisError::new("unreachable", none),
            Err(e) => last = e,
        }
    }
    Err(last)
}

/// The error of a cluster that is partly down, or being created.
pub(super) fn nobody() -> RedisError {
    RedisError::new("unreachable", "No node of the cluster has the key at the moment")
}

async fn connect(url: &RedisUrl, (host, port): &HostPort) -> Result<Io, RedisError> {
    let unreachable = |words: String| RedisError::new("unreachable", words);
    let mut last = "The name of the Redis has no IP address".to_owned();
    for address in look_up(host, *port).await.map_err(unreachable)? {
        match Async::<TcpStream>::connect(address).await.and_then(Socket::adopt) {
            Ok(tcp) => {
                _ = tcp.get_ref().set_nodelay(true);
                return secure(url, host, tcp).await;
            }
            Err(e) => last = format!("Cannot connect to Redis: {}", e.kind()),
        }
    }
    Err(unreachable(last))
}

#[cfg(feature = "tls")]
async fn secure(url: &RedisUrl, host: &str, tcp: Socket) -> Result<Io, RedisError> {
    let failed = |why: String| RedisError::new("unreachable", format!("TLS to Redis failed: {why}"));
    if !url.tls {
        return Ok(Io::plain(tcp));
    }
    let name =
        host.to_owned().try_into().map_err(|_| failed("its name is not valid in a certificate".into()))?;
    let connector = super::super::tls::connector(&url.roots).map_err(|e| failed(e.to_string()))?;
    let tls = connector.connect(name, tcp).await.map_err(|e| failed(e.to_string()))?;
    Ok(Io::tls(tls.into()))
}

#[cfg(not(feature = "tls"))]
async fn secure(_: &RedisUrl, _: &str, tcp: Socket) -> Result<Io, RedisError> {
    Ok(Io::plain(tcp))
}

/// Our stream, with the traits that the client library requires.
struct Stream(Io);

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        let read = ready!(Pin::new(&mut self.0).poll_read(cx, buf.initialize_unfilled()))?;
        buf.advance(read);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_close(cx)
    }
}
