//! The end of a TCP connection, so that what was sent last arrives.

use std::{future::poll_fn, pin::Pin};

use bytes::Bytes;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::timeout,
};

use crate::{Config, stream::Stream};

/// What a connection that is being closed may still send before it is cut.
const LINGER_BYTES: usize = 256 * 1024;

/// Says that nothing more comes, and waits for the client to close: a TCP connection that is closed with bytes unread is
/// reset, and what was sent last may be lost.
///
/// `last` is what is to be sent before that.
pub(crate) async fn linger(mut stream: Stream, last: Bytes, config: &Config) {
    let wait = async {
        let mut last = &last[..];
        while !last.is_empty() {
            let sent = poll_fn(|cx| Pin::new(&mut stream).poll_write(cx, last)).await?;
            last = &last[sent..];
        }
        poll_fn(|cx| Pin::new(&mut stream).poll_shutdown(cx)).await?;
        let mut rest = LINGER_BYTES;
        let mut sink = [0; 1024];
        while rest > 0 {
            let mut buffer = ReadBuf::new(&mut sink);
            poll_fn(|cx| Pin::new(&mut stream).poll_read(cx, &mut buffer)).await?;
            match buffer.filled().len() {
                0 => break,
                n => rest = rest.saturating_sub(n),
            }
        }
        Ok::<(), std::io::Error>(())
    };
    // An error means that the connection is gone, which is what is waited for.
    let _ = timeout(config.close_timeout, wait).await;
}
