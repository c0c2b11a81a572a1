//! A connection to Redis, whose driver is polled by whoever uses it.

use std::future::{Future, poll_fn};
use std::net::TcpStream;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures_lite::{AsyncRead as _, AsyncWrite as _, FutureExt};
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, RedisConnectionInfo, Value};
use smol::{Async, Timer};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::super::io::Io;
use super::super::lookup::look_up;
use super::url::{HostPort, Place};
use super::{PATIENCE, RedisError, RedisUrl};

/// How long one sentinel may take, so that the next is asked in time.
const SENTINEL: Duration = Duration::from_secs(1);

/// Ends when the connection does.
pub type Driver = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Is told the channel and content of what is published.
pub type Said = Box<dyn Fn(&str, &str) + Send + Sync>;

/// An open connection: what commands go through, and what moves them.
pub struct Line {
    pub commands: MultiplexedConnection,
    pub driver: Driver,
}

impl Line {
    /// Opens one; `said` hears what is published where it subscribes.
    pub async fn open(url: &RedisUrl, said: Option<Said>) -> Result<Line, RedisError> {
        let late = async {
            Timer::after(PATIENCE).await;
            Err(RedisError::late())
        };
        Self::dial(url, said).or(late).await
    }

    async fn dial(url: &RedisUrl, said: Option<Said>) -> Result<Line, RedisError> {
        let stream = match &url.place {
            Place::At(at) => connect(url, at).await?,
            Place::Sentinels(sentinels, name) => {
                let at = ask(url, sentinels, name).await?;
                connect(url, &at).await?
            }
        };
        let stream = Stream(stream);
        // Who waits keeps the time.
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
        let (commands, driver) = MultiplexedConnection::new_with_config(&url.login, stream, config).await?;
        let mut line = Line { commands, driver: Box::pin(driver) };
        if matches!(url.place, Place::Sentinels(..)) {
            // A sentinel may not know yet that there is another one.
            let role: Vec<Value> = line.run(async |line| redis::cmd("ROLE").query_async(line).await).await?;
            if role.first() != Some(&Value::BulkString(b"master".to_vec())) {
                return Err(RedisError::new("unreachable", "The Redis that a sentinel named is a replica"));
            }
        }
        Ok(line)
    }

    /// Whether the other end is still there, as far as can be told without asking.
    pub async fn is_open(&mut self) -> bool {
        poll_fn(|cx| Poll::Ready(self.driver.as_mut().poll(cx).is_pending())).await
    }

    /// Does what `act` does with the connection, as long as the connection and our patience last.
    pub async fn run<T>(
        &mut self,
        act: impl AsyncFnOnce(&mut MultiplexedConnection) -> redis::RedisResult<T>,
    ) -> Result<T, RedisError> {
        let Line { commands, driver } = self;
        let act = async { Ok(act(commands).await?) };
        let ended = async {
            driver.await;
            Err(RedisError::new("unreachable", "Redis closed the connection"))
        };
        let late = async {
            Timer::after(PATIENCE).await;
            Err(RedisError::late())
        };
        act.or(ended).or(late).await
    }
}

/// Asks one sentinel after the other where the Redis of this name is.
async fn ask(url: &RedisUrl, sentinels: &[HostPort], name: &str) -> Result<HostPort, RedisError> {
    let mut last = RedisError::new("unreachable", "No sentinel is named");
    for at in sentinels {
        let asked = async {
            let stream = Stream(connect(url, at).await?);
            let config = AsyncConnectionConfig::new().set_response_timeout(None);
            let login = RedisConnectionInfo::default();
            let (commands, driver) = MultiplexedConnection::new_with_config(&login, stream, config).await?;
            let mut line = Line { commands, driver: Box::pin(driver) };
            let mut ask = redis::cmd("SENTINEL");
            ask.arg("get-master-addr-by-name").arg(name);
            line.run(async |line| ask.query_async::<Option<HostPort>>(line).await).await
        };
        let late = async {
            Timer::after(SENTINEL).await;
            Err(RedisError::late())
        };
        match asked.or(late).await {
            Ok(Some(at)) => return Ok(at),
            Ok(None) => last = RedisError::new("unreachable", "The sentinels know no Redis of this name"),
            Err(e) => last = e,
        }
    }
    Err(last)
}

async fn connect(url: &RedisUrl, (host, port): &HostPort) -> Result<Io, RedisError> {
    let unreachable = |words: String| RedisError::new("unreachable", words);
    let mut last = "The name of the Redis has no address".to_owned();
    for address in look_up(host, *port).await.map_err(unreachable)? {
        match Async::<TcpStream>::connect(address).await {
            Ok(tcp) => {
                _ = tcp.get_ref().set_nodelay(true);
                return secure(url, host, tcp).await;
            }
            Err(e) => last = format!("Redis cannot be reached: {}", e.kind()),
        }
    }
    Err(unreachable(last))
}

#[cfg(feature = "tls")]
async fn secure(url: &RedisUrl, host: &str, tcp: Async<TcpStream>) -> Result<Io, RedisError> {
    let failed = |why: String| RedisError::new("unreachable", format!("TLS to Redis failed: {why}"));
    if !url.tls {
        return Ok(Io::plain(tcp));
    }
    let name =
        host.to_owned().try_into().map_err(|_| failed("its name cannot stand in a certificate".into()))?;
    let connector = super::super::tls::connector(&url.roots).map_err(|e| failed(e.to_string()))?;
    let tls = connector.connect(name, tcp).await.map_err(|e| failed(e.to_string()))?;
    Ok(Io::tls(tls.into()))
}

#[cfg(not(feature = "tls"))]
async fn secure(_: &RedisUrl, _: &str, tcp: Async<TcpStream>) -> Result<Io, RedisError> {
    Ok(Io::plain(tcp))
}

/// Our stream under the traits that the client library reads and writes by.
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

/// One connection that is opened when it is needed, for one command at a time.
#[derive(Clone)]
pub struct Shared {
    url: RedisUrl,
    line: std::sync::Arc<smol::lock::Mutex<Option<Line>>>,
}

impl Shared {
    pub fn new(url: RedisUrl) -> Self {
        Shared { url, line: Default::default() }
    }

    pub async fn run<T>(
        &self,
        act: impl AsyncFnOnce(&mut MultiplexedConnection) -> redis::RedisResult<T>,
    ) -> Result<T, RedisError> {
        let mut held = self.line.lock().await;
        // Taken out, so that a future that is dropped half-way leaves no connection in the middle of a word.
        let mut kept = held.take();
        if let Some(line) = &mut kept
            && !line.is_open().await
        {
            kept = None;
        }
        let mut line = match kept {
            Some(line) => line,
            None => Line::open(&self.url, None).await?,
        };
        let done = line.run(act).await;
        if done.as_ref().map_or_else(|e| e.code() == "refused", |_| true) {
            *held = Some(line);
        }
        done
    }
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.url.fmt(f)
    }
}
