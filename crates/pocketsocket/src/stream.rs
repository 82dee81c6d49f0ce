//! Where a server listens, and its connections: TCP, or a Unix domain socket.
//!
//! Both are streams of bytes, so all else is the same for them. Which one it is is asked once a call of the system, which
//! costs nothing beside it.

use std::{
    fmt, io,
    net::{IpAddr, SocketAddr, TcpListener, TcpStream},
    pin::Pin,
    task::{Context, Poll},
};

#[cfg(unix)]
use std::{
    os::unix::{
        fs::{FileTypeExt, MetadataExt},
        net::{UnixListener, UnixStream},
    },
    path::{Path, PathBuf},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::{Config, Error};

/// A connection that a shard serves.
#[derive(Debug)]
pub(crate) enum Stream {
    Tcp(tokio::net::TcpStream),
    #[cfg(unix)]
    Unix(tokio::net::UnixStream),
}

/// Calls a method of whichever stream it is.
macro_rules! either {
    ($self:ident, $method:ident($($argument:expr),*)) => {
        match $self.get_mut() {
            Stream::Tcp(stream) => Pin::new(stream).$method($($argument),*),
            #[cfg(unix)]
            Stream::Unix(stream) => Pin::new(stream).$method($($argument),*),
        }
    };
}

impl Stream {
    /// Takes it off the runtime of the calling thread, for another's.
    pub(crate) fn release(self) -> io::Result<Accepted> {
        match self {
            Self::Tcp(stream) => stream.into_std().map(Accepted::Tcp),
            #[cfg(unix)]
            Self::Unix(stream) => stream.into_std().map(Accepted::Unix),
        }
    }

    /// Writes what the system takes at once.
    #[inline]
    pub(crate) fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.try_write(bytes),
            #[cfg(unix)]
            Self::Unix(stream) => stream.try_write(bytes),
        }
    }

    /// The same of several slices.
    #[inline]
    pub(crate) fn try_write_vectored(&self, slices: &[io::IoSlice<'_>]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.try_write_vectored(slices),
            #[cfg(unix)]
            Self::Unix(stream) => stream.try_write_vectored(slices),
        }
    }
}

impl AsyncRead for Stream {
    #[inline]
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        either!(self, poll_read(cx, buffer))
    }
}

impl AsyncWrite for Stream {
    #[inline]
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        either!(self, poll_write(cx, bytes))
    }

    #[inline]
    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        either!(self, poll_write_vectored(cx, slices))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        either!(self, poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        either!(self, poll_shutdown(cx))
    }
}

/// A connection on its way from the acceptor to its shard: of no runtime.
#[derive(Debug)]
pub(crate) enum Accepted {
    Tcp(TcpStream),
    #[cfg(unix)]
    Unix(UnixStream),
}

impl Accepted {
    /// Registers it with the runtime of the calling thread.
    pub(crate) fn register(self) -> io::Result<Stream> {
        match self {
            Self::Tcp(stream) => tokio::net::TcpStream::from_std(stream).map(Stream::Tcp),
            #[cfg(unix)]
            Self::Unix(stream) => tokio::net::UnixStream::from_std(stream).map(Stream::Unix),
        }
    }
}

/// Who connected.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Client {
    Tcp(SocketAddr),
    /// A program on this machine: it has no address.
    #[cfg(unix)]
    Unix,
}

impl Client {
    /// The address, without its port.
    pub(crate) fn ip(self) -> Option<IpAddr> {
        match self {
            Self::Tcp(address) => Some(address.ip()),
            #[cfg(unix)]
            Self::Unix => None,
        }
    }
}

impl fmt::Display for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            #[cfg(unix)]
            Self::Unix => f.write_str("a client of the Unix socket"),
        }
    }
}

/// What the acceptor polls.
pub(crate) enum Polled {
    Tcp(tokio::net::TcpListener),
    #[cfg(unix)]
    Unix(tokio::net::UnixListener),
}

impl Polled {
    /// The next connection.
    pub(crate) async fn accept(&self) -> io::Result<(Stream, Client)> {
        match self {
            Self::Tcp(listener) => {
                let (stream, address) = listener.accept().await?;
                // On Linux it has this from its listener, without a call for each.
                #[cfg(not(target_os = "linux"))]
                stream.set_nodelay(true).map_err(|error| gone(&error))?;
                Ok((Stream::Tcp(stream), Client::Tcp(address)))
            }
            #[cfg(unix)]
            Self::Unix(listener) => {
                let (stream, _) = listener.accept().await?;
                Ok((Stream::Unix(stream), Client::Unix))
            }
        }
    }
}

/// An error of one connection, after which the next is accepted at once.
#[cfg(not(target_os = "linux"))]
fn gone(error: &io::Error) -> io::Error {
    log::debug!("a client was gone before it was served: {error}");
    io::ErrorKind::ConnectionAborted.into()
}

/// A bound listener.
#[derive(Debug)]
#[cfg_attr(unix, expect(dead_code, reason = "the file is kept for its drop"))]
pub(crate) enum Listener {
    Tcp(TcpListener),
    /// The file goes before its listener: who finds it can connect.
    #[cfg(unix)]
    Unix(SocketFile, UnixListener),
}

impl Listener {
    /// Binds what the settings say.
    pub(crate) fn bind(config: &Config) -> Result<Self, Error> {
        match &config.unix {
            None => config.bind().map(Self::Tcp),
            #[cfg(unix)]
            Some(path) => {
                let failed = |source| Error::BindUnix { path: path.clone(), source };
                let listener = bind_unix(path).map_err(failed)?;
                let file = SocketFile::new(path).map_err(failed)?;
                rustix::net::listen(&listener, crate::config::BACKLOG)
                    .map_err(|error| failed(error.into()))?;
                listener.set_nonblocking(true).map_err(failed)?;
                Ok(Self::Unix(file, listener))
            }
            #[cfg(not(unix))]
            Some(path) => Err(Error::BindUnix {
                path: path.clone(),
                source: io::ErrorKind::Unsupported.into(),
            }),
        }
    }

    /// Address and port; those of nothing for a Unix socket.
    pub(crate) fn local_addr(&self) -> io::Result<SocketAddr> {
        match self {
            Self::Tcp(listener) => listener.local_addr(),
            #[cfg(unix)]
            Self::Unix(..) => Ok(([0, 0, 0, 0], 0).into()),
        }
    }

    /// Has the runtime of the calling thread poll it.
    pub(crate) fn register(&self) -> io::Result<Polled> {
        match self {
            Self::Tcp(listener) => {
                tokio::net::TcpListener::from_std(listener.try_clone()?).map(Polled::Tcp)
            }
            #[cfg(unix)]
            Self::Unix(_, listener) => {
                tokio::net::UnixListener::from_std(listener.try_clone()?).map(Polled::Unix)
            }
        }
    }
}

/// Binds a Unix socket. The file of a server that has died is replaced, that of one that listens is an error, and so is
/// any other file.
#[cfg(unix)]
fn bind_unix(path: &Path) -> io::Result<UnixListener> {
    match UnixListener::bind(path) {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse && is_stale(path) => {
            log::info!("{} is of a server that has ended: it is replaced", path.display());
            std::fs::remove_file(path)?;
            UnixListener::bind(path)
        }
        outcome => outcome,
    }
}

/// Whether a file is a socket at which nobody listens.
#[cfg(unix)]
fn is_stale(path: &Path) -> bool {
    let is_socket = std::fs::symlink_metadata(path).is_ok_and(|data| data.file_type().is_socket());
    // One that is busy (its backlog is full) is no stale one: only a refusal says that nobody listens.
    is_socket
        && UnixStream::connect(path)
            .is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused)
}

/// The file of a Unix socket, removed when the server ends, if it is still the server's own.
#[cfg(unix)]
#[derive(Debug)]
pub(crate) struct SocketFile {
    path: PathBuf,
    /// Device and inode.
    file: (u64, u64),
}

/// There are none on this system.
#[cfg(not(unix))]
#[derive(Debug)]
pub(crate) struct SocketFile;

#[cfg(unix)]
impl SocketFile {
    fn new(path: &Path) -> io::Result<Self> {
        // Absolute: the process may change its directory.
        Ok(Self { path: std::path::absolute(path)?, file: Self::id(path)? })
    }

    fn id(path: &Path) -> io::Result<(u64, u64)> {
        std::fs::symlink_metadata(path).map(|data| (data.dev(), data.ino()))
    }
}

#[cfg(unix)]
impl Drop for SocketFile {
    fn drop(&mut self) {
        if Self::id(&self.path).is_ok_and(|file| file == self.file)
            && let Err(error) = std::fs::remove_file(&self.path)
        {
            log::warn!("{} cannot be removed: {error}", self.path.display());
        }
    }
}

/// Binds a TCP address that other processes may bind too, if they also ask for it.
#[cfg(unix)]
pub(crate) fn bind_shared(address: SocketAddr) -> io::Result<TcpListener> {
    use rustix::{
        io::{FdFlags, fcntl_setfd},
        net::{AddressFamily, SocketType, bind, listen, socket, sockopt},
    };
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let socket = socket(family, SocketType::STREAM, None)?;
    fcntl_setfd(&socket, FdFlags::CLOEXEC)?;
    // As std does: a restart does not wait for old connections to time out.
    sockopt::set_socket_reuseaddr(&socket, true)?;
    sockopt::set_socket_reuseport(&socket, true)?;
    bind(&socket, &address)?;
    listen(&socket, crate::config::BACKLOG)?;
    Ok(socket.into())
}

/// Windows lets one program take another's port by what is nearest to this, so there it is refused.
#[cfg(not(unix))]
pub(crate) fn bind_shared(_: SocketAddr) -> io::Result<TcpListener> {
    Err(io::ErrorKind::Unsupported.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_accepted_connection_sends_at_once() {
        let config = Config { port: 0, ..Config::default() };
        let listener = Listener::bind(&config).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().unwrap();
        let (stream, _) = runtime.block_on(async {
            let polled = listener.register().unwrap();
            let _client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            polled.accept().await.unwrap()
        });
        match stream {
            Stream::Tcp(stream) => assert!(stream.nodelay().unwrap()),
            #[cfg(unix)]
            Stream::Unix(_) => panic!("not what was bound"),
        }
    }
}
